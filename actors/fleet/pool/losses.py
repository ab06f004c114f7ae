"""Who is to blame for a lost replica: itself, or its work.

Every loss is charged to the restart budget. A job that loses one replica after another is to blame
itself: it is given up (JobLost), the others go on, and what it cost is taken back as soon as other
work succeeds. Until that is known, a pool that could work before may exceed its budget by some
restarts: replicas that finish nothing at all have another trouble.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from actors.fleet.calls import ActorLost, Cause
from actors.fleet.pool.restart_budget import RestartBudget
from medray.errors import RunFailed

MAX_LOSSES = 3  # replicas that a job may lose, a hanging one counted twice, before it is given up
MAX_BREAKS = 2  # of them, such that the job raised an error
MAX_BEYOND = 16  # restarts in a row beyond the budget, over suspected work
MAX_FAILED_STARTS = 2  # of one replica in a row: the next would end the same way


@dataclass(slots=True)
class JobLosses:
    """Replicas that one job has lost. `suspect`: it is a part of a job that was given up."""

    limit: int = MAX_LOSSES
    suspect: bool = False
    causes: list[Cause] = field(default_factory=list)
    charged: list[Cause] = field(default_factory=list)  # to the budget

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
        self._worked = False  # whether any job has ever been done, or a part of one
        self._beyond = 0  # restarts beyond the budget since the last success
        self._given_up: list[JobLosses] = []  # since then

    def job_given_up(self, job: JobLosses) -> None:
        self._given_up.append(job)

    def part_done(self) -> None:
        """A replica has answered a part of a job: it can work, whatever became of the rest."""
        self._worked = True

    def job_done(self) -> None:
        """Replicas can work: what given-up jobs have cost was the fault of those jobs."""
        self._worked, self._beyond = True, 0
        for job in self._given_up:
            for cause in job.charged:
                self.budget.refund(self.kind, cause)
        self._given_up.clear()

    def obstacle(
        self, who: str, failed_starts: int, lost: ActorLost, job: JobLosses | None
    ) -> RunFailed | None:
        """Why `who` is not started again; None if it is, which is charged and announced here.

        `job`: what it was lost over.
        """
        if failed_starts >= MAX_FAILED_STARTS:
            why = f"its start failed {failed_starts} times in a row: {lost.why}"
            return RunFailed(who, why, "check the memory and the model's files")
        suspected = lost.blamed and self._worked and self._beyond < MAX_BEYOND
        if suspected and not self.budget.left(self.kind, lost.cause):
            self._beyond += 1
            text = "restarted beyond the budget, as its work is suspected"
            self.budget.announce(f"{who} {lost.cause}: {lost.why}; {text}")
            return None
        if self.budget.spend(self.kind, who, lost):
            if job is not None:
                job.charged.append(lost.cause)
            return None
        return RunFailed(f"no {self.name} is left", str(lost), f"raise faults.{self.kind}")
