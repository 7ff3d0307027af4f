"""One training run: plan, run directory, loop, what it came to, and how it is resumed."""
