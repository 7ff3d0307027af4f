"""The settings of a run: their ranges, presets, sweeps and JSON.  Knows no tensor, no environment, no command line."""
