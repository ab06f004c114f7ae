"""One DeepSpeed rank of the learner: `actor` is the class.

`saved_state` saves and restores it for any number of ranks; `deepspeed_internals` holds every
private API of DeepSpeed that is used.
"""

from actors.learner.actor import Learner

__all__ = ["Learner"]
