"""How code runs on this machine: launches, device, threads, compile cache, signals.  Knows no learning."""
