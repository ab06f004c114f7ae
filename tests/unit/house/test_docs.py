"""The documentation against the code: keys and defaults, names, drop reasons, links.

Also: no text file names a registry or a path of one machine.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from medray.config import Config, ObjectiveConfig
from medray.editing import FindingsEditor
from medray.evaluation.metrics import evaluate
from medray.ledger import SCHEMA
from medray.objectives import OBJECTIVES
from medray.rundir import METRIC_KEYS
from tests.support.paths import ROOT

CONFIGURATION = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
RUN_DIRECTORY = (ROOT / "docs/run-directory.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES += sorted(ROOT.glob("cluster/*.md"))
ROW = re.compile(r"^\| `([a-z_.]+)` \| (?:`([^`]*)`|(required)) \| \S", re.MULTILINE)
REQUIRED = object()


def documented(text: str) -> dict[str, Any]:
    """Key → default, from the rows of a page's tables."""
    defaults: dict[str, Any] = {}
    for key, default, required in ROW.findall(text):
        assert key not in defaults, f"{key} has two rows"
        defaults[key] = REQUIRED if required else yaml.safe_load(default)
    return defaults


def leaves(section: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, default) of every key, including nested sections."""
    for name, field in section.model_fields.items():
        kinds = [field.annotation, *get_args(field.annotation)]
        inner = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if f"{prefix}{name}" == "eval.data":  # has the keys of `data`
            yield "eval.data", field.default
        elif inner and inner[0] is not ObjectiveConfig:
            yield from leaves(inner[0], f"{prefix}{name}.")
        elif not inner:
            yield (
                f"{prefix}{field.alias or name}",
                plain(REQUIRED if field.is_required() else field.default),
            )


def plain(value: Any) -> Any:
    """The value as YAML returns it."""
    if isinstance(value, tuple):
        return list(value)
    return value


def objective_part(name: str) -> str:
    match = re.search(rf"^### {name}$(.*?)(?=^##)", CONFIGURATION, re.MULTILINE | re.DOTALL)
    assert match is not None, f"docs/configuration.md has no section {name}"
    return match[1]


def test_every_key_is_documented_with_its_default() -> None:
    before, _, rest = CONFIGURATION.partition("\n## objective\n")
    assert documented(before + rest[rest.index("\n## ") :]) == dict(leaves(Config))


def test_the_default_objective_is_documented() -> None:
    assert f"`objective.name` (default `{ObjectiveConfig().name}`)" in CONFIGURATION


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_hyperparameter_is_documented_with_its_default(name: str) -> None:
    part = objective_part(name)
    rules = OBJECTIVES[name].hyperparameters
    assert documented(part) == {f"objective.{key}": rule.default for key, rule in rules.items()}
    for choice in (choice for rule in rules.values() for choice in rule.choices):
        assert f"`{choice}`" in part


def test_every_choice_of_a_key_is_documented() -> None:
    def literals(section: type[BaseModel]) -> Iterator[str]:
        for field in section.model_fields.values():
            stack: list[Any] = [field.annotation]
            while stack:
                kind = stack.pop()
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    yield from literals(kind)
                elif isinstance(kind, str):
                    yield kind
                stack += get_args(kind)

    assert [choice for choice in literals(Config) if f"`{choice}`" not in CONFIGURATION] == []


def test_the_content_of_a_run_is_documented() -> None:
    keys = [*METRIC_KEYS, *SCHEMA.names, *evaluate([], {}), "unusable", "seconds"]
    assert [key for key in keys if f"`{key}`" not in RUN_DIRECTORY] == []


def test_every_drop_reason_is_documented() -> None:
    sources = [p for top in ("medray", "actors") for p in sorted((ROOT / top).rglob("*.py"))]
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    reasons = set(re.findall(r'ItemError\(\s*"([a-z-]+)"', code))
    assert len(reasons) > 10, "the pattern no longer matches what the code raises"
    listed = (
        (FindingsEditor.__doc__ or "").partition("abstains with a reason:")[2].partition(".")[0]
    )
    reasons |= {f"abstained:{reason.strip()}" for reason in listed.split(",")}
    rows = set(re.findall(r"^\| `([a-z:-]+)` \|", RUN_DIRECTORY, re.MULTILINE))
    assert reasons - rows == set()
    assert 'reason: str = "non-finite-loss"' in code
    assert "non-finite-loss" in rows


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = page.parent / file if file else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}"


def anchors(page: Path) -> set[str]:
    """The link anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# Written so that this file does not match its own patterns.
REGISTRY = re.compile(r"://[^\s/\"']*(?:py[p]i|python[h]osted|npm[j]s)\b", re.IGNORECASE)
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:work|root|home)/")


def repository_texts() -> list[Path]:
    """Text files that are tracked, or would be if everything were added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [p for p in paths if p.is_file() and b"\0" not in p.read_bytes()[:8192]]


@pytest.mark.parametrize("pattern", [REGISTRY, MACHINE_PATH], ids=["registry", "machine-path"])
def test_no_file_names_a_registry_or_a_path_of_one_machine(pattern: re.Pattern[str]) -> None:
    hits = []
    for path in repository_texts():
        text = path.read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                hits.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert hits == []


@pytest.mark.parametrize(
    ("pattern", "line", "hit"),
    [
        (REGISTRY, "--index-" + "url https:" + "//py" + "pi.org/simple", True),
        (REGISTRY, "https:" + "//files.python" + "hosted.org/x.whl", True),
        (REGISTRY, "the packages on PyPI", False),
        (MACHINE_PATH, "open('" + "/ho" + "me/someone/x')", True),
        (MACHINE_PATH, "see " + "/wo" + "rk/main", True),
        (MACHINE_PATH, "docs/home/index.html", False),
        (MACHINE_PATH, "/mnt/runs/wo" + "rk/x", False),
    ],
)
def test_the_patterns_match_what_they_should(
    pattern: re.Pattern[str], line: str, hit: bool
) -> None:
    assert bool(pattern.search(line)) is hit
