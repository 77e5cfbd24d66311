"""Every citation of the API note, in code and docs, leads to a section or a row of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NOTE = (REPOSITORY / "docs" / "api-notes.md").read_text(encoding="utf-8")
SECTIONS = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", NOTE, re.MULTILINE))
ROWS = set(re.findall(r"^\| (C\d+) \|", NOTE, re.MULTILINE))

SECTION = r"\d+(?:\.\d+)?"
CITED_SECTIONS = re.compile(
    rf"(?:API note, (?:sections? )?|sections? )({SECTION}(?:(?:, | and ){SECTION})*)"
)
CITED_ROW = re.compile(r"\bC\d{1,2}\b")


def prose(path: Path) -> str:
    """Return a file's text with its lines, and its comments' lines, joined by blanks."""
    return re.sub(r"\s*\n\s*(?:#:? )?", " ", path.read_text(encoding="utf-8"))


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    paths = [REPOSITORY / name for name in listed.stdout.splitlines()]
    return [path for path in paths if path.is_file() and path != Path(__file__)]


def citations() -> dict[str, set[str]]:
    """Return what is cited, with the places that do."""
    found: dict[str, set[str]] = {}
    for path in tracked("*.py", "*.md"):
        text = prose(path)
        if "API note" not in text and path.parent.name != "docs":
            continue
        cited = {number for group in CITED_SECTIONS.findall(text) for number in numbers(group)}
        for name in cited | set(CITED_ROW.findall(text)):
            found.setdefault(name, set()).add(str(path.relative_to(REPOSITORY)))
    return found


def numbers(group: str) -> list[str]:
    return re.findall(SECTION, group)


def test_every_citation_of_the_api_note_leads_somewhere() -> None:
    cited = citations()
    assert len(cited) > 15, "the patterns above no longer find what they should"
    astray = {name: places for name, places in cited.items() if name not in SECTIONS | ROWS}
    assert astray == {}


def test_the_api_note_numbers_every_contradiction_once() -> None:
    listed = re.findall(r"^\| (C\d+) \|", NOTE, re.MULTILINE)
    assert listed == [f"C{number}" for number in range(1, len(listed) + 1)]
