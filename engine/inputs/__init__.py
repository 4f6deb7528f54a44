"""From files and arrays to Samples: what the model takes, beside what a person recognises."""

from .array import check_feeds, split_rows
from .load import expand_sources, load_samples
from .sample import Sample

__all__ = ["Sample", "check_feeds", "expand_sources", "load_samples", "split_rows"]
