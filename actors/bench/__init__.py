"""Benchmarks that need real actors: `medray bench loop`, `sync` and `generate`."""
