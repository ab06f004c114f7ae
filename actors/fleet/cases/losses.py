"""Who is to blame for a lost replica: itself, within the restart budget, or its work.

A job that loses one replica after another is to blame itself: it is given up (JobLost), the others
go on, and what it cost is not charged. That holds only while other work succeeds in between:
replicas that finish nothing at all have another trouble.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from actors.fleet.calls import ActorLost, Cause
from actors.fleet.restart_budget import RestartBudget
from medray.errors import RunFailed

MAX_LOSSES = 3  # replicas that a job may lose, a hanging one counted twice, before it is given up
MAX_BREAKS = 2  # of them, such that the job raised an error
MAX_UNCHARGED = 16  # losses in a row, blamed on jobs, without any success in between
MAX_FAILED_STARTS = 2  # of one replica in a row: the next would end the same way


@dataclass(slots=True)
class JobLosses:
    """Replicas that one job has lost. `suspect`: it is a part of a job that was given up."""

    limit: int = MAX_LOSSES
    suspect: bool = False
    causes: list[Cause] = field(default_factory=list)

    def add(self, lost: ActorLost) -> None:
        lost.blamed = self.suspect or bool(self.causes)
        self.causes.append(lost.cause)

    @property
    def too_many(self) -> bool:
        """Whether the job is to blame for them."""
        weight = len(self.causes) + self.causes.count("stuck")
        return weight >= self.limit or self.causes.count("broken") >= min(self.limit, MAX_BREAKS)


class Losses:
    """Of one pool: what is charged to the budget (`kind`), and what is taken back."""

    def __init__(self, kind: str, name: str, budget: RestartBudget) -> None:
        self.kind, self.name, self.budget = kind, name, budget
        self._uncharged = 0  # blamed on jobs since the last success
        self._to_refund: Counter[Cause] = Counter()  # charged for jobs that were given up

    def job_given_up(self, job: JobLosses) -> None:
        """Its first loss was charged, unless it was suspected from the beginning."""
        if not job.suspect:
            self._to_refund[job.causes[0]] += 1

    def job_done(self) -> None:
        """Replicas can work: what given-up jobs have cost was the fault of those jobs."""
        self._uncharged = 0
        for cause, count in self._to_refund.items():
            self.budget.refund(self.kind, cause, count)
        self._to_refund.clear()

    def obstacle(self, who: str, failed_starts: int, lost: ActorLost) -> RunFailed | None:
        """Why `who` is not started again; None if it is, which is charged and announced here."""
        if failed_starts >= MAX_FAILED_STARTS:
            why = f"its start failed {failed_starts} times in a row: {lost.why}"
            return RunFailed(who, why, "check the memory and the model's files")
        if not lost.blamed:
            if self.budget.spend(self.kind, who, lost):
                return None
            left = f"no {self.name} is left"
            return RunFailed(left, str(lost), f"raise faults.{self.kind}")
        self._uncharged += 1
        if self._uncharged < MAX_UNCHARGED:
            self.budget.announce(
                f"{who} {lost.cause}: {lost.why}; restarted, its work is suspected"
            )
            return None
        why = f"{self._uncharged} losses in a row, and no work done: {lost.why}"
        return RunFailed(who, why, "see the Ray logs")
