"""Simulator back ends of fastsac.  They import only `fastsac.env`."""
