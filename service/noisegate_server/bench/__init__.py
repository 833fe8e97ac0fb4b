"""Benchmarks: each claim of the README is a row, printed with its reference from the same run."""
