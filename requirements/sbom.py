"""The bill of materials of an installation, as CycloneDX, and the licences as a table.

    python requirements/sbom.py requirements/cpu.txt OUT_FOLDER

writes OUT_FOLDER/sbom.json (each locked package with its version, hashes and licence) and
OUT_FOLDER/licences.md. Needs nothing but Python; licences are those that the installed packages
state of themselves.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

UNKNOWN = "not installed here"


def read_lock(lock: Path) -> dict[str, tuple[str, list[str]]]:
    """Package → (version, sha256 of each of its files), from a list with hashes."""
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    rows = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)(.*)$", text, re.MULTILINE)
    return {
        name: (version, re.findall(r"--hash=sha256:([0-9a-f]{64})", rest))
        for name, version, rest in rows
    }


def licence_of(package: str) -> str:
    """As the installed package states it: SPDX, else its field, else its classifiers."""
    try:
        found = metadata.metadata(package)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in found.get_all("Classifier", [])
        if line.startswith("License ::")
    ]
    stated = found.get("License-Expression") or found.get("License") or ""
    first = stated.strip().splitlines()[0].strip() if stated.strip() else ""
    return first[:80] if 0 < len(first) <= 80 else ", ".join(classifiers) or "not stated"


def bill(packages: dict[str, tuple[str, list[str]]]) -> dict[str, Any]:
    """CycloneDX 1.5."""
    components = [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
            "licenses": [{"license": {"name": licence_of(name)}}],
        }
        for name, (version, hashes) in sorted(packages.items())
    ]
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components}


def table(packages: dict[str, tuple[str, list[str]]]) -> str:
    """Licences with their packages, the most frequent first."""
    licences = {name: licence_of(name) for name in packages}
    lines = ["| licence | packages | |", "|---|---|---|"]
    for licence, count in Counter(licences.values()).most_common():
        names = ", ".join(sorted(name for name, own in licences.items() if own == licence))
        lines.append(f"| {licence.replace('|', '/')} | {count} | {names} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    lock, out = Path(sys.argv[1]), Path(sys.argv[2])
    packages = read_lock(lock)
    out.mkdir(parents=True, exist_ok=True)
    (out / "sbom.json").write_text(json.dumps(bill(packages), indent=1) + "\n", encoding="utf-8")
    (out / "licences.md").write_text(table(packages), encoding="utf-8")
    print(f"{out}: {len(packages)} packages")


if __name__ == "__main__":
    main()
