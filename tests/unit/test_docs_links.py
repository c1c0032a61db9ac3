"""Whoever follows a link in our pages arrives: every relative link names a file, and every # a heading in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")
ELSEWHERE = re.compile(r"^(?:[a-z][a-z0-9+.-]*:|//)")
"""Addresses of other machines: not ours to promise."""


def links(text: str) -> list[str]:
    """Relative links of a page, outside code."""
    prose = re.sub(r"`[^`\n]*`", "`code`", FENCE.sub("", text))
    return [target for target in LINK.findall(prose) if not ELSEWHERE.match(target)]


def anchor(heading: str) -> str:
    """The name that GitHub gives a heading: lower case, punctuation dropped, blanks to hyphens."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


@cache
def anchors(path: Path) -> frozenset[str]:
    """Names of all headings of a page; the second of two alike gets -1."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} (.+?)#*$", FENCE.sub("", path.read_text("utf-8")), flags=re.MULTILINE):
        name = anchor(heading)
        names.add(name if name not in found else f"{name}-{found[name]}")
        found[name] = found.get(name, 0) + 1
    return frozenset(names)


def problem(page: Path, target: str) -> str | None:
    """What is wrong with a link, if anything."""
    where, _, heading = target.partition("#")
    path = (page.parent / where).resolve() if where else page
    if not path.is_relative_to(ROOT) or not path.exists():
        return f"{target}: there is no such file"
    if heading and (path.suffix != ".md" or heading not in anchors(path)):
        return f"{target}: there is no such heading"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nobody_is_sent_to_a_page_that_is_not_there(page: Path) -> None:
    wrong = [problem(page, target) for target in links(page.read_text("utf-8"))]
    assert [each for each in wrong if each is not None] == []


@pytest.mark.skipif(shutil.which("git") is None, reason="only git says which files a clone has")
def test_whoever_clones_has_every_linked_file() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip(f"not a checkout of this user, so nothing says what a clone has: {listed.stderr.strip()}")
    kept = {ROOT / name for name in listed.stdout.split("\0") if name}
    folders = {parent for path in kept for parent in path.parents}
    missing = [
        f"{page.name}: {target}"
        for page in PAGES
        if page in kept
        for target in links(page.read_text("utf-8"))
        if target.partition("#")[0] and (page.parent / target.partition("#")[0]).resolve() not in kept | folders
    ]
    assert missing == []


def test_a_link_that_leads_nowhere_is_found() -> None:
    page = ROOT / "README.md"
    text = (
        "[a](docs/nowhere.md) `[b](c.md)` [d](https://example.org/x) ![e](docs/images/none.png)\n```\n[f](g.md)\n```\n"
    )
    assert links(text) == ["docs/nowhere.md", "docs/images/none.png"]
    assert [problem(page, target) is None for target in ("docs/nowhere.md", "docs/architecture.md", "docs/")] == [
        False,
        True,
        True,
    ]
    assert problem(page, "docs/architecture.md#no-such-heading")
    assert anchor("1. Issue: a `card` & more") == "1-issue-a-card--more"


def test_every_page_of_the_documentation_can_be_reached_from_the_readme() -> None:
    seen = {ROOT / "README.md"}
    waiting = list(seen)
    while waiting:
        page = waiting.pop()
        for target in links(page.read_text("utf-8")):
            path = (page.parent / target.partition("#")[0]).resolve()
            found = sorted(path.glob("*.md")) if path.is_dir() else [path]
            for each in found:
                if each.suffix == ".md" and each.exists() and each not in seen:
                    seen.add(each)
                    waiting.append(each)
    assert [
        str(page.relative_to(ROOT)) for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in seen
    ] == []


def test_pages_that_the_code_names_are_there() -> None:
    named = re.compile(r"\bdocs/[a-z0-9/_-]+\.md\b")
    folders = ("cardservice", "entitlements", "hardware", "readers", "sql", "tests", "docker")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sql", ".js")]
    files.remove(Path(__file__))  # it names some that are not there, on purpose
    found = {page: path for path in files for page in named.findall(path.read_text("utf-8"))}
    assert len(found) > 5
    assert [f"{path.relative_to(ROOT)}: {page}" for page, path in found.items() if not (ROOT / page).exists()] == []
