"""Tables, displays and charts of runs, for people.  Reads run directories and settings only."""
