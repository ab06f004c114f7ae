"""The cases that took actors along, kept in the run directory: they are not tried again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from actors.fleet.calls import ActorLost
from medray.errors import RunFailed
from medray.files import read_file, write_text
from medray.records import Case

REASON = "case-broke-actor"


class BrokenCases:
    """By case id, what happened. Without a file nothing outlives this object."""

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.causes = _read(file) if file is not None else {}

    def __contains__(self, case: Case) -> bool:
        return case.case_id in self.causes

    def add(self, case: Case, lost: ActorLost, announce: Callable[[str], None]) -> None:
        """Remember a case. Raises OSError if the run directory cannot be written."""
        if case in self:
            return
        self.causes[case.case_id] = f"{lost.what} {lost.cause}: {lost.why}"
        announce(f"case {case.case_id}: {lost.what} {lost.cause} over it; dropped as {REASON}")
        if self.file is not None:
            write_text(self.file, json.dumps(self.causes, indent=1, ensure_ascii=False) + "\n")


def _read(file: Path) -> dict[str, str]:
    try:
        content = json.loads(read_file(file))
        return {str(case_id): str(cause) for case_id, cause in dict(content).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise RunFailed(str(file), f"cannot be read ({error})", "delete it") from None
