"""``python -m onnxplain.cli``: the onnxplain command where no script is installed."""

from . import main

if __name__ == "__main__":
    main()
