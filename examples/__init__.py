"""Example games that use noisegate."""
