"""What a run is told: settings, presets, sweeps, durations.  Knows no tensor, no environment and no command line."""
