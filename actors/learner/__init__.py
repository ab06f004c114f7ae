"""One DeepSpeed rank of the learner: `actor` is the class.

`optimizer_state` saves and restores it for any number of ranks.
"""
