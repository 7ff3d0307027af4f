"""Maths on tensors: random numbers, networks, encoder, normaliser, Adam.  Knows no settings and no environment."""
