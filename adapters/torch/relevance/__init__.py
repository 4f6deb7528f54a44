"""Relevance: methods that are a set of backward rules: LRP, Deep Taylor, DeepLIFT, guided and excitation backprop."""
