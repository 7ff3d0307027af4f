"""Learning from a replay: others use `make_parts` and `gradient_step`.  Steps no environment; knows no files."""
