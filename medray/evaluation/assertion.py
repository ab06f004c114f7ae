"""What an answer asserts, one attribute at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Assertion:
    """One attribute that an answer asserts, and whether the truth or reference contradicts it.

    `error_type` is the type of error that a contradiction is.
    """

    attribute: str
    value: str
    error_type: str
    contradicted: bool
