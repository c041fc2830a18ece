"""Speed of this machine: ``python -m benchmarks``. See docs/benchmarks.md."""
