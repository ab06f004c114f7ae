"""Benchmarks as commands: `medray bench learner`."""
