"""Waiting for native code: notes while it lasts, errors and results handed over."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from onnxplain.engine import patience


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(patience, "NOTE_SECONDS", 0.01)


def test_results_and_errors_come_through():
    assert patience.patiently(lambda: 7, "counting") == 7
    with pytest.raises(ZeroDivisionError):
        patience.patiently(lambda: 1 // 0, "dividing")


def test_what_lasts_is_noted_with_time_and_memory(impatient, caplog):
    done = threading.Event()
    threading.Timer(0.1, done.set).start()
    with caplog.at_level(logging.WARNING, "onnxplain"):
        assert patience.patiently(lambda: done.wait(10), "opening the model") is True
    assert "still opening the model after 0 s" in caplog.text
    assert "GiB of memory" in caplog.text
    assert len(caplog.text.splitlines()[0]) < 200


def test_a_long_run_is_noted_too(impatient, caplog):
    done = threading.Event()
    threading.Timer(0.1, done.set).start()
    with ThreadPoolExecutor(1) as executor, caplog.at_level(logging.WARNING, "onnxplain"):
        assert patience.awaited(executor.submit(done.wait, 10), "running") is True
    assert "still running" in caplog.text


def test_a_timeout_of_the_work_itself_is_an_error():
    def fail():
        raise TimeoutError("of the work")

    with ThreadPoolExecutor(1) as executor, pytest.raises(TimeoutError, match="of the work"):
        patience.awaited(executor.submit(fail), "running")


def test_work_whose_wait_was_interrupted_gets_a_moment_to_end(monkeypatch):
    monkeypatch.setattr(patience, "LAST_SECONDS", 5.0)
    end = threading.Event()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(patience, "note", interrupt)
    monkeypatch.setattr(patience, "NOTE_SECONDS", 0.01)
    with pytest.raises(KeyboardInterrupt):
        patience.patiently(lambda: end.wait(60), "running")
    threading.Timer(0.05, end.set).start()
    assert not patience.left_behind()


def test_work_that_does_not_end_is_left_behind(monkeypatch):
    monkeypatch.setattr(patience, "LAST_SECONDS", 0.01)
    end = threading.Event()
    monkeypatch.setattr(patience, "_under_way", {end})
    assert patience.left_behind()
    end.set()
    assert not patience.left_behind()
