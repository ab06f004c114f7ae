"""Figures for MLflow, at the address in MLFLOW_TRACKING_URI."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medray.tracking.board import Ending

STATES: dict[Ending, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
FORBIDDEN = re.compile(r"[^\w\-. :/]")  # in names of figures


class MLflow:
    """One run, by the plain client: what is not passed to it (user, host, git) is not sent."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.client, self.run_id = client, run_id

    def figures(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(FORBIDDEN.sub("_", key), v, now, step) for key, v in values.items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def settings(self, settings: Mapping[str, Any]) -> None:
        """As parameters. They never change there: what a resumed run has otherwise is a tag."""
        from mlflow.entities import Param, RunTag

        known = self.client.get_run(self.run_id).data.params
        texts = {key: str(value) for key, value in settings.items()}
        new = [Param(key, text) for key, text in texts.items() if key not in known]
        changed = [
            RunTag(f"resumed.{key}", text)
            for key, text in texts.items()
            if known.get(key, text) != text
        ]
        self.client.log_batch(self.run_id, params=new, tags=changed)

    def close(self, ending: Ending) -> None:
        self.client.set_terminated(self.run_id, STATES[ending])


def open_mlflow(
    run: str, project: str, settings: Mapping[str, Any], folder: Path, identity: str | None
) -> tuple[MLflow, str]:
    """A new run, or the one of that identity again, if the server has it.

    Raises MlflowException, or what the store raises.
    """
    from mlflow import MlflowClient

    client = MlflowClient()
    if identity is None or not _reopened(client, identity):
        identity = client.create_run(_experiment(client, project), run_name=run).info.run_id
    opened = MLflow(client, identity)
    opened.settings(settings)
    return opened, identity


def _reopened(client: Any, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.update_run(run_id, status="RUNNING")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _experiment(client: Any, name: str) -> str:
    """The id of the experiment, made if it is missing; two runs may do so at once."""
    from mlflow.exceptions import MlflowException

    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException as error:
        found = client.get_experiment_by_name(name)
        if found is None:
            raise error
        return str(found.experiment_id)
