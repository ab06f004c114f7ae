"""How many cases the rules of the findings editor can read at all, before anything starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from medray.editing.language.english import endless, is_english, too_long
from medray.editing.language.markup import final_text
from medray.editing.reading.facts import facts
from medray.editing.reading.judge import judge
from medray.editing.reading.slots import compare_slot
from medray.records import Case

SAMPLE = 1000  # cases, spread evenly: about a second


@dataclass(frozen=True, slots=True)
class Readability:
    """Of `sampled` of all `cases`, how many are not readable, by reason, and how many are by the
    weaker rule "same slot, other value" only."""

    cases: int
    sampled: int
    unreadable: Counter[str]
    weaker: int = 0

    @property
    def share(self) -> float:
        """The share of readable cases, 0 to 1; 0 if there are none."""
        return 1 - self.unreadable.total() / self.sampled if self.sampled else 0.0

    def line(self) -> str:
        """One sentence for the plan.

        >>> Readability(4, 4, Counter({"language": 1})).line()
        'can read 75.0% of the training cases; not: language 25.0%'
        """
        reasons = ", ".join(
            f"{reason} {count / self.sampled:.1%}"
            for reason, count in self.unreadable.most_common()
        )
        if not self.share:
            return f"can read none of the training cases ({reasons}): the run would make no pair"
        basis = "" if self.sampled == self.cases else f" ({self.sampled} of {self.cases} looked at)"
        weaker = f", {self.weaker / self.sampled:.1%} by the weaker rule" if self.weaker else ""
        unread = f"; not: {reasons}" if reasons else ""
        return f"can read {self.share:.1%} of the training cases{basis}{weaker}{unread}"


def readability(
    cases: Sequence[Case], *, same_slot: bool = True, sample: int = SAMPLE
) -> Readability:
    """Judge the references of an even sample of the cases as answers to their questions.

    `same_slot`: whether the editor judges by the weaker rule too.
    """
    count = min(sample, len(cases))
    chosen = [cases[i * len(cases) // count] for i in range(count)]
    tiers = Counter(tier_of(case, same_slot=same_slot) for case in chosen)
    read = {tier: tiers.pop(tier, 0) for tier in ("sure", "slot")}
    return Readability(len(cases), count, tiers, read["slot"])


def tier_of(case: Case, *, same_slot: bool = True) -> str:
    """How surely answers to a case can be compared with its reference ("sure", or "slot": by the
    weaker rule only), or why they cannot.

    empty-reference, too-long, language, uncertain (the reference only calls it possible), or
    not-comparable: the rules find no claim in question and reference together.
    """
    if not case.reference.strip():
        return "empty-reference"
    if too_long(case.question, case.reference) or endless(case.question, case.reference):
        return "too-long"
    reference = final_text(case.reference) or case.reference
    if not (is_english(case.question) and is_english(reference)):
        return "language"
    known = facts(case.question, reference)
    if judge(reference, known, same_slot=False).comparisons:
        return "sure"
    if same_slot and compare_slot(case.question, known.reference, known.reference):
        return "slot"
    return "uncertain" if known.reference.hedged else "not-comparable"
