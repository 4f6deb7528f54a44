"""Everything that needs ONNX Runtime and NumPy only: models, games, perturbation methods, results."""

import os

# ONNX Runtime 1.31 reports its use to its makers, and keeps what it reports in the user's cache folder, unless told not
# to before it is imported. Nothing here uses the network at run time.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
