"""`medray bench learner`: one forward and backward pass, beside the naive way and TRL.

Each variant computes in a process of its own (`worker`), in turns with the others.
"""
