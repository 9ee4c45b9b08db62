"""The promises in numbers: `python -m tests.bench` (docs/performance.md)."""
