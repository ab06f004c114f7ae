"""The Dockerfile: what it is built from, and what its rules are."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.support.paths import ROOT

TEXT = (ROOT / "cluster/Dockerfile").read_text()
IGNORE = (ROOT / "cluster/Dockerfile.dockerignore").read_text()


def test_it_is_built_from_existing_files_that_are_sent() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", TEXT, re.M)
    allowed = re.findall(r"^!(\S+)$", IGNORE, re.M)
    sources = [source for line in copied for source in line.split()]
    assert "configs" in sources, "entrypoints name them"
    for source in sources:
        assert (ROOT / source).exists()
        assert source in allowed or source.split("/")[0] in allowed


def test_its_base_is_a_digest() -> None:
    assert re.search(r"^ARG BASE=python@sha256:[0-9a-f]{64}$", TEXT, re.M)
    assert set(re.findall(r"^FROM (\S+)", TEXT, re.M)) == {"${BASE}"}


def test_packages_are_installed_by_their_hashes() -> None:
    assert "pip install" not in TEXT
    makefile = (ROOT / "Makefile").read_text()
    installs = re.findall(r"^\t.*pip (?:install|sync) .*$", makefile, re.M)
    without = [line for line in installs if "--require-hashes" not in line]
    assert len(installs) > 4
    assert all("--editable ." in line for line in without)


def test_it_runs_as_a_user_without_privilege() -> None:
    assert re.findall(r"^USER (\S+)$", TEXT, re.M) == ["1000"]


def test_every_installation_by_apt_is_small() -> None:
    installs = re.findall(r"^RUN .*?(?<!\\)$", TEXT, re.M | re.S)
    installs = [run for run in installs if "apt-get install" in run]
    assert len(installs) == 2
    for run in installs:
        assert run.count("apt-get install") == run.count("--no-install-recommends")
        assert "rm -rf /var/lib/apt/lists/*" in run
        assert "git" not in run


def test_what_the_manifests_call_is_there() -> None:
    final = TEXT.rpartition("FROM ")[2]
    assert all(package in final for package in ("procps", "wget"))


def test_the_libraries_that_no_python_package_brings_are_there() -> None:
    final = TEXT.rpartition("FROM ")[2]
    assert "libnuma1" in final, "vLLM's kernels for CPUs load it"
    assert re.search(r'"\$\{STACK\}" = gpu .* g\+\+;', final), "Triton compiles with it"


def test_a_snapshot_is_read_where_one_is_given(tmp_path: Path) -> None:
    sources, conf = tmp_path / "debian.sources", tmp_path / "conf"
    conf.mkdir()
    text = (
        "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: bookworm bookworm-updates\n\n"
        "Types: deb\nURIs: http://deb.debian.org/debian-security\nSuites: bookworm-security\n"
    )
    sources.write_text(text)
    script = str(ROOT / "cluster/apt-snapshot.sh")
    environment = {"APT_SOURCES": str(sources), "APT_CONF": str(conf), "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", script, ""], env=environment, check=True)
    assert sources.read_text() == text
    subprocess.run(["sh", script, "20260922T000000Z"], env=environment, check=True)
    assert re.findall(r"^URIs: (\S+)$", sources.read_text(), re.M) == [
        "http://snapshot.debian.org/archive/debian/20260922T000000Z",
        "http://snapshot.debian.org/archive/debian-security/20260922T000000Z",
    ]
    assert "Check-Valid-Until" in (conf / "90snapshot").read_text()
