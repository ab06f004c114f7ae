"""Board and alert rules against the series that a run exports, and those against their docs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from actors.loop.telemetry import SERIES
from actors.loop.telemetry.series import COUNTERS, GAUGES, STAGE_KEYS
from tests.support.paths import ROOT

MONITORING = ROOT / "cluster/monitoring"
BOARD = json.loads((MONITORING / "dashboard.json").read_text())
RULES = yaml.safe_load((MONITORING / "rules.yaml").read_text())
OPERATING = (ROOT / "docs/operating.md").read_text()
RUN_DIRECTORY = (ROOT / "docs/run-directory.md").read_text()
# Series of others: of Ray's own agents, and of the kubelet.
OTHERS = {
    *("ray_node_gpus_utilization", "ray_node_gram_used", "ray_node_mem_used"),
    *("ray_node_cpu_utilization", "kubelet_volume_stats_available_bytes"),
    "kubelet_volume_stats_capacity_bytes",
}
DECLARED = {name: series for series in SERIES for name in series.exported}
SERIES_NAME = re.compile(r"\b(?:ray|kubelet)_[a-z_]+\b")


def expressions() -> Iterator[str]:
    for panel in BOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in BOARD["templating"]["list"]:
        yield str(variable.get("definition", ""))
    yield from (rule["expr"] for group in RULES["spec"]["groups"] for rule in group["rules"])


def names_in(text: str) -> set[str]:
    return {name for name in SERIES_NAME.findall(text) if name != "ray_io_cluster"}


def test_board_and_rules_use_series_that_exist() -> None:
    used = set.union(*map(names_in, expressions()))
    assert len(used) > 20
    assert used - DECLARED.keys() == OTHERS


def test_the_board_shows_every_series() -> None:
    shown = set.union(*map(names_in, expressions()))
    assert {s.name for s in SERIES if not shown & set(s.exported)} == set()


@pytest.mark.parametrize("text", sorted(set(expressions())))
def test_labels_are_those_of_the_series(text: str) -> None:
    for name, matchers in re.findall(r"(ray_medray_[a-z_]+)\{([^}]*)\}", text):
        used = set(re.findall(r"(\w+)=~?", matchers))
        assert used <= {"run", *DECLARED[name].labels}, name
    allowed = {label for series in SERIES for label in series.labels} | {"run", "le"}
    if "ray_medray" in text:
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", text):
            assert {label.strip() for label in group.split(",")} <= allowed


@pytest.mark.ray
def test_series_of_nodes_are_those_that_rays_agents_export() -> None:
    """Also those of GPUs, which no test has: their unit, and the label of each GPU."""
    from ray.dashboard.modules.reporter.reporter_agent import GPU_TAG_KEYS, METRICS_GAUGES

    of_nodes = {name.removeprefix("ray_"): name for name in OTHERS if name.startswith("ray_")}
    assert of_nodes.keys() <= METRICS_GAUGES.keys()
    units = {
        name: panel["fieldConfig"]["defaults"].get("unit")
        for panel in BOARD["panels"]
        for name in OTHERS & names_in(str(panel.get("targets")))
    }
    assert units["ray_node_gpus_utilization"] == "percent"  # of one GPU, 0 to 100
    assert units["ray_node_gram_used"] == "mbytes"  # 2^20 bytes, whatever Ray's own text says
    assert "GpuIndex" in GPU_TAG_KEYS


def test_a_name_is_declared_once() -> None:
    assert len({series.name for series in SERIES}) == len(SERIES)


def test_values_come_from_documented_keys_of_a_row() -> None:
    derived = {"pairs_per_second", "tokens_per_second"}  # of two keys
    keys = {s.key for s in (*GAUGES, *COUNTERS)} - {"", *derived} | {*STAGE_KEYS.values(), "drops"}
    assert {key for key in keys if f"`{key}`" not in RUN_DIRECTORY} == set()


def test_every_series_is_documented() -> None:
    documented = set(re.findall(r"`(ray_medray_[a-z_]+)`", OPERATING))
    names = {f"ray_medray_{series.name}" for series in SERIES}
    assert documented == names
    assert {name for name in OTHERS if f"`{name}`" not in OPERATING} == set()


def test_every_alert_is_documented() -> None:
    alerts = {rule["alert"] for group in RULES["spec"]["groups"] for rule in group["rules"]}
    assert set(re.findall(r"`(Medray[A-Za-z]+)`", OPERATING)) == alerts


def test_panels_have_a_place_of_their_own() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        assert panel["title"]
        taken |= cells


# What Grafana 11 reads of a panel. It was held against its schema, too: see docs/lab-notes.md.
PANEL = {"id", "type", "title", "description", "datasource", "gridPos", "fieldConfig", "targets"}
PANEL |= {"options"}
ROW = {"id", "type", "title", "collapsed", "gridPos", "panels"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}  # chosen on the board, not of one place
UNITS = {"bytes", "mbytes", "none", "percent", "percentunit", "s", "sci"}  # Grafana's names


def test_the_board_is_what_grafana_11_reads() -> None:
    assert BOARD["schemaVersion"] == 39
    assert BOARD["uid"].isalnum()
    assert len(BOARD["uid"]) <= 40
    first, *variables = BOARD["templating"]["list"]
    assert (first["type"], first["query"]) == ("datasource", "prometheus")
    for variable in variables:
        assert variable["type"] == "query"
        assert variable["datasource"] == SOURCE
        assert variable["query"]["query"] == variable["definition"]
        assert isinstance(variable["current"]["value"], list) is variable["multi"]


@pytest.mark.parametrize("panel", BOARD["panels"], ids=lambda panel: panel["title"])
def test_a_panel_is_what_grafana_11_reads(panel: dict[str, Any]) -> None:
    if panel["type"] == "row":
        assert panel.keys() <= ROW
        assert panel["panels"] == [] or panel["collapsed"]
        return
    assert panel["type"] in ("stat", "timeseries")
    assert panel.keys() <= PANEL
    assert panel["datasource"] == SOURCE
    assert panel["fieldConfig"].keys() == {"defaults", "overrides"}
    assert panel["fieldConfig"]["defaults"].get("unit", "none") in UNITS
    names = [target["refId"] for target in panel["targets"]]
    assert len(set(names)) == len(names) > 0
    for target in panel["targets"]:
        assert target["datasource"] == SOURCE
        assert set(re.findall(r"\$\{?(\w+)", target["expr"])) <= {
            "run",
            "figure",
            "__rate_interval",
        }
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"].keys() == {"id", "options"}
        assert all(one.keys() == {"id", "value"} for one in override["properties"])


def test_the_board_fits_into_a_config_map() -> None:
    assert (MONITORING / "dashboard.json").stat().st_size < 2**20
    tree: Any = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())
    (generator,) = tree["configMapGenerator"]
    assert generator["files"] == ["dashboard.json"]
    assert generator["options"]["labels"] == {"grafana_dashboard": "1"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus' own test of rules")
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(RULES["spec"]))
    shutil.copy(ROOT / "tests/unit/cluster/alerts.yaml", tmp_path)
    command = ["promtool", "test", "rules", str(tmp_path / "alerts.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus' own reading of queries")
def test_queries_of_the_board_can_be_read(tmp_path: Path) -> None:
    queries = [text.replace("$run", ".*").replace("$figure", ".*") for text in expressions()]
    queries = [text for text in queries if text and not text.startswith("label_values")]
    rules = [{"record": f"query_{i}", "expr": text} for i, text in enumerate(queries)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
