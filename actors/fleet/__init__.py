"""All actors of a run as one: placed, spawned, called, restarted.

`fleet` is the only file that knows every kind of actor; `pool` keeps replicas at work, the learner
group keeps ranks together, `rollouts` takes cases to pairs.
"""
