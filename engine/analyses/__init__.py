"""What a model does over a data set: what an analysis is handed, its result, and the same made again."""
