"""Whether the files that the settings name can be files, and are all different ones."""

from __future__ import annotations

import itertools
import os
import stat
import typing as t
from pathlib import Path

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FILE_SETTINGS = ("sandbox_path", "suppression_path", "ledger_uri", "rejects_path", "report_path")
_COMPANIONS = {
    "sandbox_path": ("-wal", "-shm", "-journal"),
    "ledger_uri": ("-wal", "-shm", "-journal"),
}


def check_files(given: Mapping[str, t.Any]) -> Iterator[str]:
    """Say which settings name what can be no file of theirs, and which name one file twice."""
    paths: dict[str, Path] = {}
    for name in FILE_SETTINGS:
        text = _path_in(name, given.get(name))
        if text is None:
            continue
        if problem := _problem_of(text):
            yield f"Setting '{name}' {problem}."
        else:
            paths[name] = Path(text)
    for (one, path), (other, other_path) in itertools.combinations(paths.items(), 2):
        if _are_same(path, other_path):
            yield (
                f"Settings '{one}' and '{other}' name the same file, which would be destroyed. "
                "Give each a file of its own."
            )
        elif any(_are_same(Path(f"{path}{end}"), other_path) for end in _COMPANIONS.get(one, ())):
            yield (
                f"Setting '{other}' names a companion of the database of '{one}', which would be "
                "destroyed. Give each a file of its own."
            )


def check_configuration_files(
    given: Mapping[str, t.Any], configuration_files: Iterable[Path]
) -> Iterator[str]:
    """Say which settings name a file that the settings themselves come from."""
    configuration_files = list(configuration_files)
    for name in FILE_SETTINGS:
        text = _path_in(name, given.get(name))
        if text and any(_are_same(Path(text), path) for path in configuration_files):
            yield (
                f"Setting '{name}' names the configuration file itself, which would be destroyed. "
                "Give it a file of its own."
            )


def _path_in(name: str, value: object) -> str | None:
    """Return the path that a setting holds, None if it names no file.

    >>> _path_in("ledger_uri", "sqlite:///ledger.db"), _path_in("ledger_uri", "ledger.db")
    ('ledger.db', 'ledger.db')
    >>> _path_in("ledger_uri", "postgresql://localhost/ledger") is None
    True
    """
    if not isinstance(value, str) or not value:
        return None
    if name == "ledger_uri" and "://" in value:
        scheme, _, rest = value.partition("://")
        path = rest.partition("?")[0].removeprefix("/")
        return path if scheme.startswith("sqlite") and path not in {"", ":memory:"} else None
    return value


def _problem_of(text: str) -> str:
    """Return why a text cannot be the path of a file, "" if it can."""
    if "\0" in text:
        return "holds a NUL, which no path may"
    try:
        os.fsencode(text)
        mode = Path(text).stat().st_mode
    except UnicodeError:
        return "holds half a character, which no path may"
    except OSError:
        return ""  # it may be made yet; if not, the part that opens it says so
    if stat.S_ISDIR(mode):
        return "names a folder, not a file"
    if not stat.S_ISREG(mode):
        return "names a device or a pipe, which keeps nothing: it must be a regular file"
    return ""


def _are_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, by whatever links, also if it is not there yet."""
    try:
        if one.exists() and other.exists():
            return one.samefile(other)
        return os.path.realpath(one) == os.path.realpath(other)
    except OSError:
        return False
