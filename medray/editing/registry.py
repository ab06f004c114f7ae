"""The one table of editors by `editor.kind`."""

from __future__ import annotations

from collections.abc import Callable

from medray.config import EditorConfig
from medray.editing.base import Editor
from medray.editing.findings import FindingsEditor

EDITORS: dict[str, Callable[[EditorConfig], Editor]] = {
    "findings": lambda config: FindingsEditor(),
}
