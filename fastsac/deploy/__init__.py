"""A trained policy as a file that runs without fastsac: the program, its formats, what it says of itself, the check."""
