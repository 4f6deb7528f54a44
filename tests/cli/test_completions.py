"""``onnxplain completions``, and what the shell then offers."""

import os

import click
import pytest

from onnxplain.cli import main
from onnxplain.cli.completing import complete_methods, complete_models


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef onnxplain"), ("fish", "complete ")]
)
def test_script_of_each_shell_calls_the_command_back(run, shell, mark):
    result = run("completions", shell)
    assert result.exit_code == 0
    assert mark in result.stdout
    assert f"_ONNXPLAIN_COMPLETE={shell}_complete" in result.stdout


def test_unknown_shell_is_wrong_usage(run):
    result = run("completions", "tcsh")
    assert result.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in result.stderr


def offered(complete, incomplete):
    return [item.value for item in complete(click.Context(main), None, incomplete)]


def test_methods_and_models_are_offered():
    assert offered(complete_methods, "oc") == ["occlusion"]
    assert offered(complete_models, "dig") == ["digits-cnn", "digits-clip", "dig"]


def test_shell_gets_commands_and_options(command, monkeypatch):
    for words, expected in (("onnxplain ins", "plain,inspect"), ("onnxplain explain --bud", "plain,--budget")):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        monkeypatch.setenv("_ONNXPLAIN_COMPLETE", "bash_complete")
        result = command()
        assert result.stdout.splitlines() == [expected], result.stderr
    assert os.environ["_ONNXPLAIN_COMPLETE"]
