"""What all questions share.  Imports nothing here: peers' interpreters import parts of it."""
