"""`make sbom`: every locked package, with its hashes and its licence."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.paths import ROOT


def test_every_locked_package_is_in_the_bill(tmp_path):
    lock = ROOT / "requirements/cpu.txt"
    command = [sys.executable, "requirements/sbom.py", str(lock), str(tmp_path / "out")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    bill = json.loads((tmp_path / "out/sbom.json").read_text())
    pins = [line.split("==")[0] for line in lock.read_text().splitlines() if "==" in line]
    components = {part["name"]: part for part in bill["components"]}
    assert sorted(components) == sorted(pins)
    assert all(part["hashes"] for part in components.values())
    assert components["torch"]["purl"] == f"pkg:pypi/torch@{components['torch']['version']}"
    assert components["ray"]["licenses"] == [{"license": {"name": "Apache 2.0"}}]
    licences = (tmp_path / "out/licences.md").read_text()
    assert all(name in licences for name in pins)
