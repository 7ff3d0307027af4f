"""Measurements, one file per question: `python -m bench.NAME --json FILE`.  See README.md here."""
