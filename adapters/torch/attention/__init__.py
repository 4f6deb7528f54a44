"""Attention weighed by gradients: which tokens, patches or words speak for a target."""
