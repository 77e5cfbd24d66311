"""README and the pages of `docs/`, as what their reader does: save files and run commands."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.projects import REPOSITORY

_BODY = r"^(?P<indent> *)```(?P<kind>\w+)\n(?P<body>.*?)^(?P=indent)```$"
_BLOCK = re.compile(_BODY, re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
_SAVED = re.compile(r"Save\s+this\s+as\s+`(?P<name>[^`]+)`", re.IGNORECASE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Step:
    """What the reader does next: runs a command, or saves a file.

    Attributes:
        command: What the shell is given.
        shown: The lines that are shown below it.
    """

    command: str
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        path: Where it is.
        text: What it says.
    """

    path: Path
    text: str

    def blocks(self, kind: str) -> Iterator[str]:
        """Yield the bodies of the blocks of one kind."""
        for found in _BLOCK.finditer(self.text):
            if found["kind"] == kind:
                yield textwrap.dedent(found["body"])

    def steps(self) -> Iterator[Step]:
        """Yield what the reader does, from top to bottom."""
        for found in _BLOCK.finditer(self.text):
            body = textwrap.dedent(found["body"])
            # "Save this as `name`" stands in the paragraph right above.
            above = self.text[: found.start()].rstrip().rsplit("\n\n", 1)[-1]
            if saved := _SAVED.search(above):
                yield Step(f"cat > {saved['name']} <<'END OF FILE'\n{body}END OF FILE")
            elif found["kind"] == "console":
                for command, shown in _COMMAND.findall(body):
                    yield Step(command, tuple(shown.splitlines()))

    def anchors(self) -> set[str]:
        """Return what a link into this page may name."""
        headings = _HEADING.findall(re.sub(_BLOCK, "", self.text))
        plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
        return {heading.replace(" ", "-") for heading in plain}

    def links(self) -> list[str]:
        """Return the targets of its links."""
        return re.findall(r"\]\(([^)]+)\)", self.text)


def page(name: str) -> Page:
    """Return the page with that path in the repository."""
    path = REPOSITORY / name
    return Page(path, path.read_text(encoding="utf-8"))


def pages() -> list[Page]:
    """Return README, the other pages beside it and those of `docs/`."""
    names = ["README.md", "AGENTS.md", "CONTRIBUTING.md", "SECURITY.md"]
    names += [f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md"))]
    return [page(name) for name in names]


def pattern(line: str) -> re.Pattern[str]:
    """Return what a line of a page matches: `...` is anything, and numbers may differ."""
    parts = (re.sub(r"\d+", r"\\d+", re.escape(part)) for part in line.split("..."))
    return re.compile(".*".join(parts))
