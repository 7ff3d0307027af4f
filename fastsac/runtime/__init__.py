"""How code runs, alone and beside other processes: launches, device, threads, signals, worlds.  Knows no learning."""
