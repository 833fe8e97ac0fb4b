"""The vault that outlives the process: one SQLite file, one thread."""
