"""Editors: from an answer and its reference to a minimal pair with marked spans.

claims → facts → compare → rewrite is the way of the findings editor; `alignment` takes the
spans to tokens, `relevance` says how much a pair matters.
"""

from medray.editing.base import Editor, edit_fraction
from medray.editing.findings import FindingsEditor
from medray.editing.registry import EDITORS

__all__ = ["EDITORS", "Editor", "FindingsEditor", "edit_fraction"]
