"""What sessions cost: ``python -m benchmarks``."""
