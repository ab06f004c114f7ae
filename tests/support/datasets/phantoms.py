"""A small phantom dataset, and a case from it to write answers for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medray.config import Config, load_config
from medray.data.dataset import open_dataset
from medray.phantom.dataset import write_dataset
from medray.plan import with_phantoms
from medray.records import Case
from tests.support.paths import ROOT


def small_phantoms(path: Path) -> Config:
    """The quickstart configuration on four training studies, written to the new folder `path`."""
    write_dataset(path, seed=0, n_train=4, n_heldout=2)
    return with_phantoms(load_config(ROOT / "configs/quickstart.yaml", [f"data.path={path}"]))


def lesion_report(config: Config, reference: str) -> Case:
    """A report case with a lesion, with its reference replaced by `reference`."""
    cases = open_dataset(config.data).train
    case = next(c for c in cases if c.answer_type == "report" and c.regions)
    return replace(case, reference=reference)
