"""Pairs to log-probabilities: branches as trees, one forest, values, scores.

`score_pairs` is the entry point; `scorer` is the module whose forward pass evaluates a forest.
"""
