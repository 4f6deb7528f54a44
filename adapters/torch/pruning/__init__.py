"""Pruning by explaining: which channels of a network its predictions do not rest on."""
