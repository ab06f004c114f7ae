"""Pairs to log-probabilities: branches as trees, one forest, values, scores.

`score_pairs` is the way in; `scorer` is the module whose forward pass reads a forest.
"""
