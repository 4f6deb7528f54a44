"""The command ``onnxplain``: its subcommands, one file each, and what its help says first."""

from __future__ import annotations

from .lazy import CommandLine

COMMANDS = {  # name -> one line of help; the module of the same name is imported when the command is used
    "demo": "explain a real photograph with a real network",
    "explain": "explain the decision of a model on one input or many",
    "evaluate": "which explanation can be believed: metrics, controls, gates",
    "analyse": "what predictions rest on over data: importances, effect curves",
    "inspect": "what a model takes and gives, and what can explain it",
    "methods": "list the methods, or describe one and its settings",
    "models": "list, build and find the demonstration models",
    "replay": "recompute a saved explanation and compare",
    "doctor": "check versions, devices, plug-ins and the cache folder",
    "completions": "print the completion script of a shell",
}

HELP = """\
Explain the decisions of any ONNX model.

\b
Examples:
  onnxplain demo
  onnxplain explain digits-cnn $(onnxplain models samples digits-cnn)
  onnxplain explain model.onnx photo.jpg -m rise -m kernel-shap -o out
  onnxplain explain model.onnx rows.csv:0-9 -m kernel-shap --budget 2000 --json
  onnxplain inspect model.onnx --write-spec
"""

EPILOG = """\
\b
Exit codes:
  0    done
  1    a gate failed; for replay: the numbers differ
  2    wrong usage
  3    the model, the input or a setting cannot be used
  4    incomplete: some inputs failed, the rest is done
  130  interrupted

\b
Environment:
  ONNXPLAIN_HOME     folder of built models and measured layouts
  ONNXPLAIN_PLUGINS  packages whose plug-ins load beside the built-in ones:
                     names parted by commas; empty for none
  NO_COLOR           no colours
"""

main = CommandLine("onnxplain", COMMANDS, __package__, help=HELP, epilog=EPILOG)
