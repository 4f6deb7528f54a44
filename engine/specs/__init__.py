"""Where a ModelSpec comes from beside Python: TOML, Hugging Face's files, lists of labels."""
