"""Learning from a replay: others use what `make_parts` makes, and `step`.  Steps no environment; knows no files."""
