"""Gradient methods: how a target answers to changes of inputs or of any tensor, at the sample and on paths to it."""
