"""How good an explanation is: faithful, stable, focused, and about this model at all; one metric a file."""
