"""Metrics of answers, and the evaluation of a checkpoint."""
