"""What people see of runs: tables, displays, charts.  Reads run directories and settings only."""
