"""What activations alone can tell: hidden tensors as they are, and class activation maps without a gradient."""
