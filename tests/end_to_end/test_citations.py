"""Every citation of the API note, in code and docs, leads to a section or a row of it."""

import re

from tests.pages import page
from tests.projects import REPOSITORY, tracked

NOTE = page("docs/api-notes.md").text
SECTIONS = set(re.findall(r"^#+ (\d+(?:\.\d+)?)\.? ", NOTE, re.MULTILINE))
ROWS = re.findall(r"^\| (C\d+) \|", NOTE, re.MULTILINE)
NUMBER = r"\d+(?:\.\d+)?"
CITED = re.compile(rf"(?:API note, (?:sections? )?|sections? )({NUMBER}(?:(?:, | and ){NUMBER})*)")


def citations() -> dict[str, set[str]]:
    """Return what is cited, with the places that do."""
    found: dict[str, set[str]] = {}
    for name in {*tracked("*.py", "*.md")} - {"tests/end_to_end/test_citations.py"}:
        # Lines, and those of comments, are joined by blanks.
        text = re.sub(r"\s*\n\s*(?:#:? )?", " ", (REPOSITORY / name).read_text(encoding="utf-8"))
        if "API note" in text or name.startswith("docs/"):
            cited = re.findall(NUMBER, " ".join(CITED.findall(text)))
            for one in {*cited, *re.findall(r"\bC\d{1,2}\b", text)}:
                found.setdefault(one, set()).add(name)
    return found


def test_every_citation_of_the_api_note_leads_somewhere() -> None:
    cited = citations()
    assert len(cited) > 15, "the patterns above no longer find what they should"
    known = SECTIONS.union(ROWS)
    assert {name: places for name, places in cited.items() if name not in known} == {}


def test_the_api_note_numbers_every_contradiction_once() -> None:
    assert [f"C{number}" for number in range(1, len(ROWS) + 1)] == ROWS
