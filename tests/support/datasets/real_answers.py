"""The findings editor on real answers of models: what it finds, leaves unchanged and edits.

``python -m tests.support.datasets.real_answers [DATA]`` prints the figures; DATA is the folder of
real data.
"Comparable" is defined without the verdict: the reference, read as an answer to the question, and
the answer both make a claim of a type in the ontology: a yes or no, a finding, a side.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from medray.editing import FindingsEditor, edit_fraction
from medray.editing.guard import REASONS
from medray.editing.language.text import Mention
from medray.editing.reading.claims import Statement, read, subject_of
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.editing.reading.slots import slot_of
from medray.records import EditedSentence
from tests.support.paths import shared_data

Triple = tuple[str, str, str]  # question, reference, answer
OPEN = Path(__file__).with_name("labelled_open.jsonl")
LENGTHS = ((5, "<= 5 words"), (14, "6-14 words"), (29, "15-29 words"), (10**9, ">= 30 words"))
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass
class Figures:
    """Counts over one set of answers; `shares` are the edit fractions of the corrected
    sentences of answers of ≥ 8 words."""

    answers: int = 0
    comparable: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    unsound: list[Triple] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    def share(self, *verdicts: str) -> float:
        """The fraction of the comparable answers with one of the verdicts."""
        return sum(self.comparable[v] for v in verdicts) / max(1, self.comparable.total())

    def line(self) -> str:
        median = statistics.median(self.shares) if self.shares else 0.0
        return (
            f"{self.answers} answers, {self.comparable.total()} comparable: "
            f"wrong {self.share('wrong'):.1%}, right {self.share('right'):.1%}, "
            f"found but not edited {self.share('found'):.1%}, "
            f"abstained {self.share('abstain'):.1%}; of all: {dict(self.verdicts)}; "
            f"{dict(self.reasons)}; unsound {len(self.unsound)}; "
            f"median edited share {median:.1%} of {len(self.shares)} corrected sentences "
            "in answers of 8 words"
        )


def labelled(data: Path, *, correct: bool) -> list[Triple]:
    """The answers of the labelled set with the given label."""
    text = (data / "model_answers/qwen2vl2b_vqa_rad.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    return [
        (str(r["question"]), str(r["gold"]), str(r["model_answer"]))
        for r in rows
        if r["label_correct"] is correct
    ]


def rejected(data: Path, name: str) -> list[Triple]:
    """The rejected sides of MMedPO's pairs; most, not all of them are wrong."""
    rows = json.loads((data / f"mmedpo/{name}_dpo_weighted.json").read_text(encoding="utf-8"))
    return [
        (
            row["conversations"][0]["value"].removeprefix("<image>\n"),
            row["conversations"][1]["value"].strip(),
            row["rejected_conversations"][1]["value"].strip(),
        )
        for row in rows
    ]


def labelled_open(*, held_out: bool | None = None) -> list[tuple[Triple, str]]:
    """Open answers with a label given by reading: wrong, right, partly or no-claim."""
    lines = OPEN.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        ((row["question"], row["gold"], row["model_answer"]), row["label"])
        for row in rows
        if held_out is None or row["held_out"] is held_out
    ]


def verdict(question: str, reference: str, answer: str) -> str:
    """ "wrong", "right" or "abstain", with "(slot)" where only the weaker rule decided."""
    judgement = judge(answer, facts(question, reference))
    return judgement.verdict + (" (slot)" if judgement.tier == "slot" else "")


def length(answer: str) -> str:
    """The length group of an answer, in words."""
    words = len(answer.split())
    return next(name for most, name in LENGTHS if words <= most)


def claim_type(question: str, reference: str) -> str:
    """What a question asks for: a closed question's type of error, or an open one's slot."""
    known = facts(question, reference)
    if known.word is not None:
        return f"closed, {known.proposition.error_type if known.proposition else 'other'}"
    return f"open, {slot_of(question) or 'other'}"


def shares(verdicts: Iterable[tuple[str, str]]) -> list[str]:
    """One line per group, with the share of each verdict, of (group, verdict) pairs."""
    groups: dict[str, Counter[str]] = {}
    for group, found in verdicts:
        groups.setdefault(group, Counter())[found] += 1
    return [
        f"  {group:<24} n {counts.total():>5}  "
        + "  ".join(f"{name} {n / counts.total():.1%}" for name, n in sorted(counts.items()))
        for group, counts in sorted(groups.items())
    ]


def is_comparable(question: str, reference: str, answer: str) -> bool:
    known, parsed = facts(question, reference), read(answer, subject=subject_of(question))
    return bool(
        _types(known.word, known.statements, known.study)
        & _types(parsed.word, parsed.statements, parsed.study)
    )


def _types(
    word: bool | None, statements: Iterable[Statement], study: Iterable[Mention]
) -> set[str]:
    """The kinds of claim made: a yes or no, a finding, a side, a modality, …"""
    found = {"word"} if word is not None else set()
    for statement in statements:
        found |= {statement.subject} if statement.head else set()
        found |= {m.attribute for m in statement.details}
    return found | {m.attribute for m in study}


def measure(triples: Iterable[Triple]) -> Figures:
    editor, figures = FindingsEditor(), Figures()
    for question, reference, answer in triples:
        edit = editor.edit(question, reference, answer, seed=0)
        verdict = {"no-variant": "right"}.get(edit.reason, edit.verdict)
        verdict = "found" if edit.reason in ("cannot-rewrite", *REASONS) else verdict
        figures.answers += 1
        figures.verdicts[verdict] += 1
        if edit.verdict == "abstain":
            figures.reasons[edit.reason] += 1
        if is_comparable(question, reference, answer):
            figures.comparable[verdict] += 1
        if edit.verdict != "wrong":
            continue
        if not all(_is_sound(question, reference, answer, s) for s in edit.sentences):
            figures.unsound.append((question, reference, answer))
        if len(answer.split()) >= 8:
            figures.shares += [
                edit_fraction(answer[s.start : s.end], s.answer_spans) for s in edit.sentences
            ]
    return figures


def _is_sound(question: str, reference: str, answer: str, edited: EditedSentence) -> bool:
    """Whether a corrected sentence is not edited again where it stands, says the reference's yes
    or no, and is the answer's own outside its spans."""
    prefix = answer[: edited.start]
    again = FindingsEditor().edit(question, reference, prefix + edited.text, seed=0)
    if again.verdict == "wrong" and any(s.start == edited.start for s in again.sentences):
        return False
    wanted, word = _YES_NO.match(reference), _YES_NO.match(edited.text)
    if wanted and word and wanted.group(1).lower() != word.group(1).lower():
        return False
    own = answer[edited.start : edited.end]
    parts, position = [], 0
    for old, new in zip(edited.answer_spans, edited.text_spans, strict=True):
        parts += [own[position : old.start], edited.text[new.start : new.end]]
        position = old.end
    return "".join([*parts, own[position:]]) == edited.text


def rate(triples: list[Triple]) -> float:
    """Answers edited per CPU second, with warm caches."""
    editor = FindingsEditor()
    started = time.process_time()
    for question, reference, answer in triples:
        editor.edit(question, reference, answer, seed=0)
    return len(triples) / (time.process_time() - started)


if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else shared_data()
    sets = {
        "labelled wrong": labelled(data, correct=False),
        "labelled right": labelled(data, correct=True),
        "mmedpo vqa-rad": rejected(data, "vqa-rad"),
        "mmedpo slake": rejected(data, "slake"),
    }
    for name, triples in sets.items():
        print(f"{name}: {measure(triples).line()}")
        print(f"  {rate(triples):.0f} answers/s")
    for name, triples in sets.items():
        found = [(*triple, verdict(*triple)) for triple in triples]
        print(f"{name}, by length:", *shares((length(a), v) for _, _, a, v in found), sep="\n")
        print(
            f"{name}, by claim type:",
            *shares((claim_type(q, r), v) for q, r, _, v in found),
            sep="\n",
        )
    for held_out in (False, True):
        print(f"open answers labelled by reading, {'held out' if held_out else 'seen'}:")
        print(
            *shares((label, verdict(*t)) for t, label in labelled_open(held_out=held_out)), sep="\n"
        )
