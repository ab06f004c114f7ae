"""How often the current policy is wrong, per type of error, and whether it looked when it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from medray.targeting.classify_errors import ErrorObservation
from medray.targeting.error_targets import ErrorTargets

# Answers of a type before its own rate outweighs the rate of all types.
_DOUBT = 4.0
# What an unmeasured error is taken for: one part prior to three parts misreading, so that some
# pairs are measured without an image from the beginning, and ever again as counts fade.
_PRIOR, _MISREAD = 1.0, 3.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Answers that erred in one type, answers that could have and did not, and of the first those
    that were seen to change with the image (`misread`) and those seen not to (`prior`)."""

    wrong: float = 0.0
    right: float = 0.0
    misread: float = 0.0
    prior: float = 0.0

    @property
    def answers(self) -> float:
        return self.wrong + self.right

    @property
    def prior_share(self) -> float:
        """Which share of the errors a language prior makes, in (0, 1).

        >>> Counts().prior_share, Counts(prior=4.0).prior_share
        (0.25, 0.625)
        """
        return (self.prior + _PRIOR) / (self.prior + self.misread + _PRIOR + _MISREAD)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts per error type, of which each step keeps the share `decay`.

    A value: `after` gives a new one. Types are in alphabetical order, so that sums, and all that
    follows from them, are the same after a resume.
    """

    counts: Mapping[str, Counts] = field(default_factory=dict)

    def after(self, observations: Iterable[ErrorObservation], decay: float) -> Tally:
        """The tally once these answers are counted and the older ones have faded."""
        new = {
            kind: {name: decay * value for name, value in asdict(counts).items()}
            for kind, counts in self.counts.items()
        }
        for seen in observations:
            for column, kinds in asdict(seen).items():
                for kind in kinds:
                    row = new.setdefault(kind, dict.fromkeys(_COLUMNS, 0.0))
                    row[column] += 1.0
        return Tally({kind: Counts(**new[kind]) for kind in sorted(new)})

    def rate(self, kind: str) -> float:
        """Wrong answers of all that could err in this type, drawn to the rate of all types where
        there are few; 0.0 before the first error."""
        counts = self.counts.get(kind, Counts())
        return (counts.wrong + _DOUBT * self._mean()) / (counts.answers + _DOUBT)

    def targets(self, strength: float) -> ErrorTargets:
        """What follows from the counts; nothing at strength 0, or before the first error.

        The weight of a type is (1 − strength) + strength · rate / (rate of all types): 1 for what
        goes wrong as often as the average or is unknown, and never below 1 − strength.
        """
        mean = self._mean()
        if not strength or not mean:
            return ErrorTargets()
        weights = {
            kind: (1.0 - strength) + strength * self.rate(kind) / mean for kind in self.counts
        }
        return ErrorTargets(weights, {kind: row.prior_share for kind, row in self.counts.items()})

    def metrics(self) -> dict[str, float]:
        """For metrics.jsonl: `targeting_TYPE`, the rate of each type met so far, and
        `targeting_prior`, the share of a language prior in the errors told apart."""
        rates = {f"targeting_{kind}": self.rate(kind) for kind in self.counts}
        prior, misread = (
            sum(getattr(row, name) for row in self.counts.values()) for name in ("prior", "misread")
        )
        return rates | ({"targeting_prior": prior / (prior + misread)} if prior + misread else {})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which keeps every digit."""
        return {kind: asdict(row) for kind, row in self.counts.items()}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Tally:
        return cls({kind: Counts(**told[kind]) for kind in sorted(told)})

    def _mean(self) -> float:
        """The rate of all types together."""
        answers = sum(row.answers for row in self.counts.values())
        return sum(row.wrong for row in self.counts.values()) / answers if answers else 0.0


_COLUMNS = tuple(column.name for column in fields(Counts))
