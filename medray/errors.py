"""The hierarchy of errors. Every message says what is wrong, why, and what to do.

`UserError` ends the command with exit code 2 and a single line; `RunFailed` with 3;
`StoppedOnRequest` with 75 (after a checkpoint). `ItemError` never ends a run: the
item becomes a dropped row of the ledger, with the error's `reason` as `drop_reason`.
"""

from __future__ import annotations

from medray.terminal import visible


class MedrayError(Exception):
    """Base class. `what`: the faulty value; `why`: why it is wrong; `todo`: the remedy."""

    exit_code = 3

    def __init__(self, what: str, why: str = "", todo: str = "") -> None:
        self.what, self.why, self.todo = what, why, todo
        super().__init__(what, why, todo)

    def __str__(self) -> str:
        text = self.what + (f": {self.why}" if self.why else "")
        return visible(" ".join((text + (f" — {self.todo}" if self.todo else "")).split()))


def brief(error: BaseException, limit: int = 200) -> str:
    """Another library's error as a part of one line: its kind and the beginning of its words."""
    words = " ".join(str(error).split())
    shown = words if len(words) <= limit else words[: limit - 1] + "…"
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__


class UserError(MedrayError):
    """The user's input is wrong; nothing was started and nothing is lost."""

    exit_code = 2


class ConfigError(UserError):
    """The YAML file or an override is wrong."""


class DataError(UserError):
    """A dataset is missing, is not what it claims to be, or is empty."""


class ModelError(UserError):
    """A model directory cannot be used."""


class ResourceError(UserError):
    """The cluster lacks resources that the configuration requires."""


class RunFailed(MedrayError):
    """The run cannot continue."""

    exit_code = 3


class DiskFault(RunFailed):
    """The disk is full, read-only or gone: no other process would fare better."""


class StoppedOnRequest(MedrayError):
    """The run was requested to stop and has written its checkpoint."""

    exit_code = 75


class ItemError(MedrayError):
    """One item cannot be used; the run continues without it.

    `reason` is a short kebab-case word for the ledger, e.g. ``image-missing``.
    """

    def __init__(self, reason: str, what: str = "") -> None:
        self.reason = reason
        super().__init__(what or reason)

    def __reduce__(self) -> tuple[type[ItemError], tuple[str, str]]:
        return (type(self), (self.reason, self.what))  # the constructor differs from the base
