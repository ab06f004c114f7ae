"""Benchmarks as commands: `medray bench learner|edit|sync|loop`."""
