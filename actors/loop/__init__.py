"""The loop of a run: the driver and what it uses besides the fleet.

Rollouts of later steps (prefetch), what became of a step (step), its row of metrics, requests to
stop, recovery from lost learners.
"""
