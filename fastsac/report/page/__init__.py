"""A page about runs: one HTML file that needs nothing else.  Draws and writes; reads no file but those of runs."""
