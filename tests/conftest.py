"""Settings of all tests: the same examples every time, no display, and a cache folder of the run's own."""

import os

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")

# Two cores and real models: examples differ in time by more than any deadline would allow.
settings.register_profile("onnxplain", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("onnxplain")


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory):
    """Keep measured layouts and built models out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXPLAIN_HOME", str(tmp_path_factory.mktemp("home")))
        yield
