"""Perturbation methods, one file each: a choice of what is hidden from the model, and what its scores then tell."""

from __future__ import annotations
