"""What a run can use of its cases, counted before anything starts.

Only headers of images are read; nothing of a case but counts and reasons is reported.
"""

from medray.data.quality.usability import with_usability

__all__ = ["with_usability"]
