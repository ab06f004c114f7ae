"""Editors: from an answer and its reference to a minimal pair with marked spans.

The findings editor runs claims → facts → compare → rewrite; `alignment` maps spans to tokens,
`relevance` scores how much a pair matters.
"""

from medray.editing.base import Editor, edit_fraction
from medray.editing.findings import FindingsEditor
from medray.editing.registry import EDITORS

__all__ = ["EDITORS", "Editor", "FindingsEditor", "edit_fraction"]
