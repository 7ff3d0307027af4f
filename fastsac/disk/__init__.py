"""Atomic files, tables that survive damage, errors of disks.  Knows nothing of their content."""
