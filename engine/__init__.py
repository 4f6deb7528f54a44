"""Everything that needs ONNX Runtime and NumPy only: models, games, perturbation methods, results."""
