"""Metrics of answers, for the evaluation of a checkpoint."""
