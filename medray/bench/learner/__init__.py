"""`medray bench learner`: one forward and backward pass, compared with naive scoring and TRL.

Each variant runs in a process of its own (`worker`), taking turns with the others.
"""
