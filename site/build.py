"""Build the site from docs/ and the pages at the top of the repository: build.py FOLDER.

FOLDER/pages is what it is made from, FOLDER/site the site. A link or an anchor that leads nowhere,
a page outside the contents, and what a page would fetch from elsewhere, end it with code 1.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOP = {  # of the repository → of the site
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
# What a browser fetches by itself: not <a href>.
FETCHED = re.compile(
    r"""<(?!a\b)[a-z]+\b[^>]*?\b(?:src|srcset|href|data)=["']?(?:https?:)?//[^>]*>"""
    r"""|url\(["']?(?:https?:)?//[^)]*\)|@import\s+["'](?:https?:)?//[^"']*""",
    re.IGNORECASE,
)
# What the theme would fetch for search in pages that are opened from disk; worker.js does it.
SHIM = re.compile(r'<script src="https://unpkg\.com/iframe-worker/shim"[^>]*></script>')
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def gather(folder: Path) -> None:
    """Everything in docs/, and the pages at the top of the repository."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    docs = {f"docs/{path.name}": path.name for path in (ROOT / "docs").glob("*.md")}
    for source, name in (docs | TOP).items():
        text = (ROOT / source).read_text(encoding="utf-8")
        (folder / name).write_text(with_links(text, posixpath.dirname(source)), encoding="utf-8")


def with_links(text: str, folder: str) -> str:
    """The Markdown of a file in `folder` of the repository, for the site: all pages are in one
    folder there, and files that are no pages are named without a link."""

    def replaced(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        path, hash_sign, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            return match[0]
        place = posixpath.normpath(posixpath.join(folder, path))
        name = TOP.get(place, place.removeprefix("docs/") if place.startswith("docs/") else "")
        return f"{mark}[{label}]({name}{hash_sign}{anchor})" if name else label

    parts = FENCE.split(text)
    return "".join(part if part.startswith("```") else LINK.sub(replaced, part) for part in parts)


def require_pages_in_contents(folder: Path, contents: str) -> None:
    for page in sorted(folder.glob("*.md")):
        if not re.search(rf": {re.escape(page.name)}$", contents, re.MULTILINE):
            sys.exit(f"site/mkdocs.yml: {page.name} is not in its contents (nav)")


def require_nothing_fetched(site: Path) -> None:
    """Put a file of ours in the place of the one that the theme fetches; refuse any other."""
    shutil.copy(ROOT / "site/worker.js", site)
    for path in sorted([*site.rglob("*.html"), *site.rglob("*.css")]):
        text = path.read_text(encoding="utf-8")
        text, count = SHIM.subn('<script src="worker.js"></script>', text)
        if count:
            path.write_text(text, encoding="utf-8")
        if found := FETCHED.search(text):
            sys.exit(f"{path.relative_to(site)}: fetches {found[0][:200]}")


def main(folder: Path) -> None:
    gather(folder / "pages")
    contents = (ROOT / "site/mkdocs.yml").read_text(encoding="utf-8")
    (folder / "mkdocs.yml").write_text(contents, encoding="utf-8")
    require_pages_in_contents(folder / "pages", contents)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run([*command, "-f", str(folder / "mkdocs.yml")], check=False)
    if done.returncode:
        sys.exit(1)
    require_nothing_fetched(folder / "site")
    print(f"{folder / 'site' / 'index.html'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
