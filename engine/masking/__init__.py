"""What can be present or absent (features), and what stands in when it is absent (baselines)."""

from __future__ import annotations
