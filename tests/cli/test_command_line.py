"""The outermost command: help, usage errors, exit codes, broken pipes, and what it must not import."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onnxplain import SettingError
from onnxplain.cli import COMMANDS, lazy
from onnxplain.cli.errors import guarded
from onnxplain.models import catalogue

FULL = Path("/dev/full")
HEAVY = ("numpy", "onnx", "onnxruntime", "matplotlib", "torch", "rich", "scipy", "skimage", "sklearn", "PIL")
LOADED = "import atexit, sys; atexit.register(lambda: print([m for m in {names} if m in sys.modules], file=sys.stderr))"


def loaded(*names):
    """Python that prints, at the end, which of these modules were imported."""
    return LOADED.format(names=names)


def test_help_says_every_command_and_exit_code(run):
    result = run("--help")
    assert result.exit_code == 0
    assert all(
        re.search(rf"^  {name} +{re.escape(text)}$", result.stdout, re.MULTILINE) for name, text in COMMANDS.items()
    )
    assert all(re.search(rf"^ +{code} +\w", result.stdout, re.MULTILINE) for code in (0, 1, 2, 3, 4, 130))


def test_help_starts_with_five_examples(run):
    shown = run("--help").stdout
    examples = re.findall(r"^ +onnxplain \w.*$", shown[: shown.index("Options:")], re.MULTILINE)
    assert len(examples) == 5


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_of_itself(run, name):
    for flag in ("-h", "--help"):
        result = run(name, flag)
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: onnxplain {name} ")
        assert "--debug" in result.stdout
        assert f"onnxplain {name}" in result.stdout.split("\n", 1)[1]


def test_help_imports_nothing_heavy(command):
    result = command("--help", before=loaded(*HEAVY))
    assert (result.returncode, result.stderr) == (0, "[]\n")


def test_help_of_explain_imports_nothing_heavy(command):
    result = command("explain", "--help", before=loaded(*HEAVY))
    assert (result.returncode, result.stderr) == (0, "[]\n")


def test_black_box_explanation_imports_neither_torch_nor_matplotlib(command, digit):
    result = command("explain", "digits-cnn", digit, "--json", before=loaded("torch", "matplotlib", "rich", "click"))
    assert result.returncode == 0
    assert result.stderr.splitlines()[-1] == "['click']"


def test_nothing_is_left_in_the_home_folder_and_nothing_is_reported(command, digit, tmp_path, monkeypatch):
    """ONNX Runtime would keep what it is about to report in the user's cache folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert command("explain", "digits-cnn", digit, "-m", "occlusion").returncode == 0
    assert not (tmp_path / "user").exists()


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names of files are UTF-8 there")
def test_names_that_the_locale_cannot_spell(command, digit, tmp_path, monkeypatch):
    folder = tmp_path / "späce 猫"
    folder.mkdir()
    shutil.copy(catalogue.path("digits-cnn"), folder / "nö.onnx")
    shutil.copy(digit, folder / "Kätzchen.png")
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    result = command("explain", folder / "nö.onnx", folder / "Kätzchen.png", "-m", "occlusion", "-o", folder / "ü")
    assert result.returncode == 0, result.stderr
    assert len(list((folder / "ü").glob("K*tzchen.occlusion.npz"))) == 1


def test_nothing_asked_shows_the_help_and_is_wrong_usage(run):
    result = run()
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Commands:" in result.stderr
    assert "error:" not in result.stderr


def test_unknown_command_names_the_nearest(run):
    result = run("exlpain")
    assert result.exit_code == 2
    assert result.stderr == "error: there is no command 'exlpain': did you mean 'explain'?\n  tip: onnxplain --help\n"


def test_unknown_option_names_the_nearest(run):
    result = run("explain", "m.onnx", "x.png", "--metod", "rise")
    assert result.exit_code == 2
    assert "--metod" in result.stderr
    assert "--method" in result.stderr
    assert result.stderr.endswith("  tip: onnxplain explain --help\n")


def test_missing_argument_is_wrong_usage(run):
    result = run("explain", "m.onnx")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: Missing argument 'INPUT...'")


@pytest.mark.parametrize(
    ("written", "meant", "name"),
    [("–m", "-m", "en dash"), ("—method", "--method", "em dash"), ("–-set", "--set", "en dash"), ("−m", "-m", "minus")],
)
def test_dash_of_a_word_processor_is_pointed_out(run, written, meant, name):
    result = run("explain", "m.onnx", "x.png", written, "rise")
    assert result.exit_code == 2
    assert f"type it as '{meant}'" in result.stderr
    assert name in result.stderr


def test_file_that_starts_with_a_long_dash_is_a_file(run, tmp_path):
    (tmp_path / "–odd.onnx").write_bytes(b"")
    result = run("inspect", "–odd.onnx")
    assert result.exit_code == 3
    assert "this file is empty" in result.stderr


def test_version_is_that_of_the_package(run):
    assert re.fullmatch(r"onnxplain \d+\.\d+\.\d+\S*\n", run("--version").stdout)


def test_reader_that_goes_away_is_no_error(command):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        result = command("models", "--json", capture_output=False, stdout=pipe, stderr=subprocess.PIPE)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_full_disk_behind_stdout_is_an_error(command):
    with FULL.open("wb") as full:
        result = command("models", "--json", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 3
    assert result.stderr == f"error: {os.strerror(errno.ENOSPC)}\n"


def raising(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (SettingError("no", where="here", tip="do"), 3, "error: no\n  at: here\n  tip: do\n"),
        (TypeError("boom"), 3, "error: internal error: TypeError: boom\n  tip: run again with --debug\n"),
        (MemoryError(), 3, "error: there is not enough memory for this\n"),
        (OSError(errno.EIO, "broken", "disk"), 3, "error: broken\n  at: disk\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_exceptions_become_a_message_and_a_code(capsys, error, code, text):
    assert guarded(raising(error)) == code
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", text)


def test_debug_shows_the_traceback_before_the_message(capsys):
    assert guarded(raising(TypeError("boom")), debug=True) == 3
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last):\n")
    assert "in fail" in shown
    assert shown.endswith("error: internal error: TypeError: boom\n  tip: run again with --debug\n")


@pytest.mark.parametrize("args", [("--debug", "inspect", "none.onnx"), ("inspect", "none.onnx", "--debug")])
def test_debug_may_stand_before_and_after_the_command(run, args):
    result = run(*args)
    assert result.exit_code == 3
    assert "Traceback" in result.stderr


def test_names_from_outside_cannot_drive_the_terminal(run):
    result = run("inspect", "\x1b[31mred\u202e.onnx")
    assert result.exit_code == 3
    assert "\x1b" not in result.stderr
    assert "\u202e" not in result.stderr
    assert "\\x1b[31mred\\u202e.onnx" in result.stderr


def test_colours_need_a_terminal_and_no_veto(monkeypatch, capsys):
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    guarded(raising(SettingError("no")))
    assert capsys.readouterr().err == "\x1b[31m\x1b[1merror:\x1b[0m no\n"
    monkeypatch.setenv("NO_COLOR", "1")
    guarded(raising(SettingError("no")))
    assert capsys.readouterr().err == "error: no\n"


def test_every_command_of_the_table_is_there():
    group = lazy.CommandLine("onnxplain", COMMANDS, "onnxplain.cli")
    for name in COMMANDS:
        assert group.get_command(None, name).name == name
    assert group.get_command(None, "nothing") is None
