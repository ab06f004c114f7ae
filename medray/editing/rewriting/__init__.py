"""Rewrites answers: a wrong one by the smallest change that resolves its contradictions, a right
one into its smallest wrong variant."""
