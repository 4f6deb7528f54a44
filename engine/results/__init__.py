"""From a method's numbers to an explanation: its manifest, its file, and the same made again."""
