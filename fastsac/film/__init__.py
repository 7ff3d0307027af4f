"""Pictures into a file or a window, one after the other.  Knows no environment and no policy."""
