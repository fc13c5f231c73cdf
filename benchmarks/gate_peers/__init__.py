"""Parts of `benchmarks/gate_aa.py`: four regression gates held against known changes, trial by trial."""
