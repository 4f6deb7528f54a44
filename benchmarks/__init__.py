"""Speed, memory and start-up, against named peers. ``make bench`` runs all of it."""
