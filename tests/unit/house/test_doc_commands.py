"""The commands that the documentation prints: each can be parsed as it stands, sets keys that
exist, and is of a kind that a test runs, or of one that says why none does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from click import Command, UsageError

from medray.cli.common import _foreign_keys
from medray.cli.main import app
from medray.config import load_config
from tests.support.paths import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
PAGES += [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "cluster").glob("*.md"))]
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
ASSIGNMENT = re.compile(r"[A-Za-z_]+=")
# Kind of command → the test that runs it.
RUN = {
    "make check": ".ci/run",
    "make docs": "tests/unit/house/test_site.py",
    "make quickstart": "tests/integration/loop/test_quickstart.py",  # the command that it runs
    "make test": ".ci/run",
    "medray check": "tests/unit/cli/test_light_commands.py",
    "medray convert": "tests/unit/policy/conversion/test_convert.py",
    "medray corrupt": "tests/unit/imaging/test_corrupt_file.py",
    "medray data check": "tests/unit/data/test_check.py",
    "medray data export": "tests/unit/cli/test_hostile_inputs.py",
    "medray data import": "tests/integration/offline/test_given_pairs.py",
    "medray eval": "tests/integration/evaluation/test_forms.py",
    "medray export": "tests/integration/loop/test_quickstart.py",
    "medray init": "tests/unit/cli/test_light_commands.py",
    "medray launch": "tests/integration/loop/test_quickstart.py",
    "medray pairs": "tests/integration/loop/test_names.py",
    "medray report": "tests/integration/loop/test_names.py",
    "medray review": "tests/unit/review/test_command.py",
    "medray study": "tests/integration/study/test_study.py",
    "ray drain-node": "tests/support/processes/clusters.py",  # for test_drained_nodes.py
    "ray job": "tests/integration/clusters/test_submitted_jobs.py",
    "ray start": "tests/integration/clusters/test_submitted_jobs.py",
    "kubectl kustomize": "tests/unit/cluster/test_manifests.py",  # by our own reading of it
}
# Kind of command → why no test runs it.
NOT_RUN = {
    "docker build": "no daemon in tests: tests/unit/cluster/test_image.py reads the file instead",
    "kubectl apply": "no cluster in tests: tests/unit/cluster/test_manifests.py checks each object",
    "kubectl cp": "no cluster in tests",
    "kubectl get": "no cluster in tests",
    "kubectl logs": "no cluster in tests",
    "kubectl port-forward": "no cluster in tests",
    "make install": "it has run before any test can",
    "make install-trackers": "tests have the same packages in build/trackers",
    "make test-fast": "a part of `make test`",
    "nvidia-smi": "NVIDIA's",
    "ray get-auth-token": "Ray's: tests/support/processes/clusters.py has a token of its own",
    "source .venv/bin/activate": "a shell's",
}


def commands() -> list[tuple[str, list[str]]]:
    """(page, words) of every command in a block of shell."""
    found = []
    for page in PAGES:
        for block in SHELL.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                line = re.sub(r"\$\([^)]*\)", "…", line)  # what a shell would fill in
                for part in re.split(r" (?:&&|\||--) ", line):
                    words = shlex.split(part.rstrip("&"), comments=True)
                    while words and (words[0] == "export" or ASSIGNMENT.match(words[0])):
                        words = words[1:]
                    if words:
                        found.append((page.name, words))
    return found


def kind_of(words: list[str]) -> str:
    nested = words[:2] == ["medray", "data"]
    return " ".join(words[: 3 if nested else 2])


MEDRAY = [(page, words) for page, words in commands() if words[0] == "medray"]


def test_every_kind_of_command_is_run_or_says_why_not():
    kinds = {kind_of(words) for _, words in commands()}
    assert len(MEDRAY) > 40
    assert kinds - RUN.keys() - NOT_RUN.keys() == set()
    assert {test for test in RUN.values() if not (ROOT / test).exists()} == set()
    for kind, test in RUN.items():
        word = kind.split()[-1]
        assert re.search(rf"\b{word}\b", (ROOT / test).read_text()), f"{test} does not run {kind}"


@pytest.mark.parametrize(("page", "words"), MEDRAY, ids=lambda x: " ".join(x)[:60])
def test_it_can_be_parsed(page: str, words: list[str]):
    command, arguments = found_command(words)
    try:
        context = command.make_context(words[1], list(arguments))
    except UsageError as error:
        pytest.fail(f"{page}: {' '.join(words)}: {error.format_message()}")
    overrides = [word for word in context.params.get("overrides") or () if "=" in word]
    if overrides:
        named = ROOT / str(context.params.get("config", ""))
        base = named if named.is_file() else ROOT / "configs/quickstart.yaml"
        load_config(base, [o for o in overrides if "hinge" not in o], _foreign_keys)


def found_command(words: list[str]) -> tuple[Command, list[str]]:
    command: Command = typer.main.get_command(app)
    rest = words[1:]
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"there is no command {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def test_files_of_the_repository_that_commands_name_are_there():
    named = {word for _, words in commands() for word in words if Path(word).suffix == ".yaml"}
    shipped = {name for name in named if name.startswith(("configs/", "cluster/"))}
    assert len(shipped) > 2
    assert {name for name in shipped if not (ROOT / name).exists()} == set()
