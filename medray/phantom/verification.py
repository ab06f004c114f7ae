"""Read what a run on phantoms in paragraphs taught, sentence by sentence, against the truth.

The reader is the grammar of the wordings (`paragraphs.reading`): it shares no code with an editor,
and knows the truth of the study, of which an editor sees the reference report only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from medray.data.dataset import open_dataset
from medray.errors import UserError
from medray.ledger import read_steps
from medray.phantom.paragraphs.grammar import is_worded
from medray.phantom.paragraphs.reading import Claim, claims, sentences
from medray.rundir import RunDirectory


@dataclass(slots=True)
class Verification:
    """Counts over the pairs that were trained on.

    `true`, `false`, `unread` are sentences of chosen sides; `unworded` are those that are none of
    the wordings, letter by letter. `against_prefix` are pairs whose chosen side contradicts what
    stands before it, `rejected_true` those whose rejected side is true in all of its sentences, and
    `rejected_unread` those of which no sentence is false and some are not read.
    `findings` are (what, pair_id, text) of everything but true sentences.
    """

    pairs: int = 0
    true: int = 0
    false: int = 0
    unread: int = 0
    unworded: int = 0
    against_prefix: int = 0
    rejected_true: int = 0
    rejected_unread: int = 0
    findings: list[tuple[str, str, str]] = field(default_factory=list)

    def note(self, what: str, pair_id: str, text: str) -> None:
        """Count one thing that is not as it should be, and keep it."""
        setattr(self, what, getattr(self, what) + 1)
        self.findings.append((what, pair_id, text))


def verify_run(run_dir: str | os.PathLike[str]) -> Verification:
    """Verify all trained pairs of a run. Raises UserError if its data have no such truth."""
    run = RunDirectory.open(run_dir)
    config = run.read_config()
    cases = open_dataset(config.data).train
    truths = {case.case_id: dict(case.truth) for case in cases}
    if config.data.kind != "phantom" or not all("device" in truth for truth in truths.values()):
        why = "its data are not phantoms in paragraphs, so no truth is known of every sentence"
        raise UserError(str(run_dir), why, "give a run with data.style: paragraphs")
    result = Verification()
    for table in read_steps(run.ledger):
        for row in table.to_pylist():
            if row["status"] == "trained":
                verify_pair(row, truths[row["case_id"]], result)
    return result


def verify_pair(row: Mapping[str, Any], truth: Mapping[str, str], result: Verification) -> None:
    """Add one row of a ledger to the result."""
    pair_id, question = row["pair_id"], row["question"]
    result.pairs += 1
    for sentence in sentences(row["chosen"]):
        verdict = _holds(sentence, question, truth)
        if verdict:
            result.true += 1
        else:
            result.note("unread" if verdict is None else "false", pair_id, sentence)
        if not is_worded(sentence):
            result.note("unworded", pair_id, sentence)
    rejected = [_holds(sentence, question, truth) for sentence in sentences(row["rejected"])]
    if False not in rejected:
        what = "rejected_unread" if None in rejected else "rejected_true"
        result.note(what, pair_id, row["rejected"])
    before = _all_claims(row.get("prefix") or "", question)
    if any(contradict(a, b) for a in before for b in _all_claims(row["chosen"], question)):
        result.note("against_prefix", pair_id, f"{row['prefix']} → {row['chosen']}")


def _holds(sentence: str, question: str, truth: Mapping[str, str]) -> bool | None:
    """Whether a sentence is true; None if it is not read."""
    found = claims(sentence, question)
    return None if found is None else all(claim.holds(truth) for claim in found)


def _all_claims(text: str, question: str) -> list[Claim]:
    return [claim for sentence in sentences(text) for claim in claims(sentence, question) or ()]


def contradict(one: Claim, other: Claim) -> bool:
    """Whether two claims about the same chest cannot both hold."""
    if one.denied and other.denied:
        return False
    if one.denied or other.denied:
        denied, asserted = (one, other) if one.denied else (other, one)
        return bool(denied.values) and all(_entails(asserted.values, v) for v in denied.values)
    values = dict(one.values)
    return any(_differ(values.get(name, value), value) for name, value in other.values)


def _entails(values: Iterable[tuple[str, str]], wanted: tuple[str, str]) -> bool:
    known = dict(values)
    name, value = wanted
    if value == "any":
        return known.get(name, "none") != "none"
    return known.get(name) == value


def _differ(one: str, other: str) -> bool:
    if "any" in (one, other):
        return "none" in (one, other)
    return one != other
