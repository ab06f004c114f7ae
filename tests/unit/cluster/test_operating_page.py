"""What docs/operating.md and docs/troubleshooting.md say, against what medray prints and ships."""

from __future__ import annotations

import re

from medray.config import load_config
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/operating.md").read_text()
TROUBLE = (ROOT / "docs/troubleshooting.md").read_text()
SOURCES = [path for top in ("medray", "actors") for path in sorted((ROOT / top).rglob("*.py"))]
CODE = " ".join(re.sub(r'"\s*f?"', "", path.read_text()) for path in SOURCES)
# Words of others: the shell, Ray, the operator, Kubernetes, Kueue, the operating system.
OTHERS = {
    *(
        "medray: not found",
        "401",
        "No available agent to submit job",
        "No space left on device",
        "untolerated taint",
    ),
    *("unbound immediate PersistentVolumeClaims", "no PriorityClass with name medray-batch"),
    *("OOMKilled", 'violates PodSecurity "restricted"', "ValidationFailed", "Suspended"),
}


def messages() -> list[str]:
    cells = re.findall(r"^\| (`[^|]+) \|", TROUBLE, re.M)
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


def printed(message: str) -> bool:
    """Whether the code holds its words; "…" is filled in there."""
    return all(part.strip() in CODE for part in message.split("…"))


def test_messages_are_those_that_are_printed() -> None:
    found = messages()
    assert len(found) > 50
    assert {message for message in found if not printed(message)} <= OTHERS < set(found)


def test_folders_are_there() -> None:
    named = set(re.findall(r"cluster/([a-z-]+)`? ", PAGE))
    there = {path.name for path in (ROOT / "cluster").iterdir() if path.is_dir()}
    assert there <= named


def test_recipes_set_keys_that_exist() -> None:
    """Of README and this page."""
    for page in (PAGE, (ROOT / "README.md").read_text()):
        for command in re.findall(r"medray launch ((?:[^\n`]*\\\n)*[^\n`]*)", page):
            words = command.replace("\\\n", " ").split()
            if words and (ROOT / words[0]).is_file():
                overrides = [word for word in words[1:] if re.match(r"[a-z]+\.[a-z_.]+=", word)]
                load_config(ROOT / words[0], overrides)


def test_the_recipe_of_the_readme_can_run_as_printed() -> None:
    block = (ROOT / "README.md").read_text().partition("## On a cluster")[2].partition("```sh")[2]
    lines = block.partition("```")[0].strip().splitlines()
    assert lines[0] == "source .venv/bin/activate"
    order = ["RAY_AUTH_MODE", "RAY_JOB_STOP_WAIT_TIME_S", "ray start", "ray job submit"]
    places = [next(i for i, line in enumerate(lines) if word in line) for word in order]
    assert places == sorted(places), "what Ray is to know comes before it starts"
    assert "run.output=$PWD/" in lines[-1]
