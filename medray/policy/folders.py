"""A folder that appears complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def is_taken(out: Path) -> bool:
    """Whether something is there that must not be written over."""
    return out.exists() and (not out.is_dir() or any(out.iterdir()))


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A draft beside `out`, renamed to it at the end; nothing is left after an error.

    OSError where it cannot be written.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        draft.chmod(0o755)
        yield draft
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
