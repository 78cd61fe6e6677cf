"""Analysis of runs: their results as plain values."""
