"""Settings of all tests: the same examples every time, and no display."""

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")

# Two cores and real models: examples differ in time by more than any deadline would allow.
settings.register_profile("onnxplain", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("onnxplain")
