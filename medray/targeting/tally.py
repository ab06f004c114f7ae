"""How often the current policy is wrong, per error type, and whether it then used the image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from medray.targeting.classify_errors import ErrorObservation
from medray.targeting.error_targets import ErrorTargets
from medray.targeting.grouping import Grouping, by_type

# Pseudo-count of a rate: with more answers, a type's own rate outweighs the rate of all types.
_RATE_WEIGHT = 4.0
# Pseudo-counts of the cause of an error: one part prior to three parts misreading, so that some
# pairs are measured without an image from the start, and again as counts decay.
_PRIOR_WEIGHT, _MISREAD_WEIGHT = 1.0, 3.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Answers that are wrong in one type and answers that are right in it; of the wrong ones,
    those observed to depend on the image (`misread`) and those observed not to (`prior`)."""

    wrong: float = 0.0
    right: float = 0.0
    misread: float = 0.0
    prior: float = 0.0

    @property
    def answers(self) -> float:
        return self.wrong + self.right

    @property
    def prior_share(self) -> float:
        """The estimated share of errors that a language prior causes, in (0, 1).

        >>> Counts().prior_share, Counts(prior=4.0).prior_share
        (0.25, 0.625)
        """
        total = self.prior + self.misread + _PRIOR_WEIGHT + _MISREAD_WEIGHT
        return (self.prior + _PRIOR_WEIGHT) / total


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts per error type, which each step multiplies by `decay`.

    Immutable: `after` returns a new tally. Types are in alphabetical order, so that sums, and all
    that depends on them, are the same after a resume.
    """

    counts: Mapping[str, Counts] = field(default_factory=dict)

    def after(self, observations: Iterable[ErrorObservation], decay: float) -> Tally:
        """A new tally: the old counts decayed, plus these answers."""
        new = {
            kind: {name: decay * value for name, value in asdict(counts).items()}
            for kind, counts in self.counts.items()
        }
        for observation in observations:
            for column, kinds in asdict(observation).items():
                for kind in kinds:
                    row = new.setdefault(kind, dict.fromkeys(_COLUMNS, 0.0))
                    row[column] += 1.0
        return Tally({kind: Counts(**new[kind]) for kind in sorted(new)})

    def rate(self, kind: str) -> float:
        """The share of answers that are wrong in this type, shrunk to the rate of all types if
        there are few answers; 0.0 before the first error."""
        counts = self.counts.get(kind, Counts())
        return (counts.wrong + _RATE_WEIGHT * self._mean()) / (counts.answers + _RATE_WEIGHT)

    def targets(self, strength: float, by: Grouping = "error_type") -> ErrorTargets:
        """The targets for the next step; none at strength 0, or before the first error. `by`: what
        the counts are of.

        The weight of a type is (1 − strength) + strength · rate / (rate of all types): 1 if it is
        unknown or as frequent an error as the average, and never below 1 − strength.
        """
        mean = self._mean()
        if not strength or not mean:
            return ErrorTargets()
        weights = {
            kind: (1.0 - strength) + strength * self.rate(kind) / mean for kind in self.counts
        }
        prior = {kind: row.prior_share for kind, row in self.counts.items()}
        return ErrorTargets(by_type(weights, by), by_type(prior, by), by)

    def metrics(self) -> dict[str, float]:
        """For metrics.jsonl: `targeting_TYPE`, the rate of each type seen so far, and
        `targeting_prior`, the share of language priors among errors of known cause."""
        rates = {f"targeting_{kind}": self.rate(kind) for kind in self.counts}
        prior, misread = (
            sum(getattr(row, name) for row in self.counts.values()) for name in ("prior", "misread")
        )
        return rates | ({"targeting_prior": prior / (prior + misread)} if prior + misread else {})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, which preserves every digit."""
        return {kind: asdict(row) for kind, row in self.counts.items()}

    @classmethod
    def from_dict(cls, counts: Mapping[str, Any]) -> Tally:
        """The tally of a `to_dict`."""
        return cls({kind: Counts(**counts[kind]) for kind in sorted(counts)})

    def _mean(self) -> float:
        """The rate of all types together."""
        answers = sum(row.answers for row in self.counts.values())
        return sum(row.wrong for row in self.counts.values()) / answers if answers else 0.0


_COLUMNS = tuple(column.name for column in fields(Counts))
