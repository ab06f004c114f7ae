"""The configurations that `medray init` writes for one's own hardware, on look-alikes."""

from __future__ import annotations

from medray.config import load_config
from medray.plan import make_plan
from tests.support.datasets.miniatures import slake
from tests.support.paths import ROOT


def test_one_gpu_is_accepted_and_shared(tmp_path, tiny_llava):
    (folder := tmp_path / "slake").mkdir()
    overrides = [
        f"model.path={tiny_llava}",
        "model.max_length=null",
        f"data={{kind: slake, path: {slake(folder)}}}",
        f"run.output={tmp_path}",
    ]
    plan = make_plan(load_config(ROOT / "configs/one_gpu.yaml", overrides))
    assert plan.config.generator.colocated
    assert plan.config.loop.sync == "adapter"
    assert plan.lines()
