"""The algorithms' interface, batch and losses, and one algorithm a file, which know nothing of each other."""
