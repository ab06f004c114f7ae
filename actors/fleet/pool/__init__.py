"""Actors of one kind that share work (`replicas`): what they are given (`jobs`), who is to blame
for a lost one (`losses`), and how many may be replaced (`restart_budget`)."""

from actors.fleet.pool.jobs import CallResult, union_seconds
from actors.fleet.pool.replicas import LEAST_PATIENCE, Pool
from actors.fleet.pool.restart_budget import RestartBudget

__all__ = ["LEAST_PATIENCE", "CallResult", "Pool", "RestartBudget", "union_seconds"]
