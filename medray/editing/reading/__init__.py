"""Turns text into claims, and claims into a verdict on an answer."""
