"""Files: whole or not there, tables that survive damage, errors of disks.  Knows nothing of what they hold."""
