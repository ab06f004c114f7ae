"""Benchmarks that need real actors: `medray bench loop` and `medray bench sync`."""
