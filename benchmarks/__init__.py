"""Speed of this machine: ``python -m benchmarks``. See docs/reference/benchmarks.md."""
