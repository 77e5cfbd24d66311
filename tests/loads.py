"""Loads of people for tests through the whole target, and what to look at afterwards."""

from __future__ import annotations

import json
import typing as t

from tests.messages import person, schema, state

if t.TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.messages import Ended


def people(count: int, *, every: int = 50, bad: t.Container[int] = ()) -> list[str]:
    """A schema and so many people, with STATE in between; the bad ones have a bad address."""
    lines = [schema()]
    for n in range(1, count + 1):
        lines.append(person(n, email=f"bad{n}@example.com") if n in bad else person(n))
        if n % every == 0:
            lines.append(state(bookmark=n))
    return lines


def emails(crm: RunningSandbox) -> set[str]:
    return {contact["email"] for contact in crm.contacts()}


def rejected(path: Path) -> list[dict[str, t.Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["type"] == "RECORD"]


def is_complete(ended: Ended) -> bool:
    """Return whether a run came to its end; one in which all was refused fails for that alone."""
    reasons = [reason["code"] for reason in ended.report["reasons"]]
    return ended.code == 0 or reasons == ["nothing_accepted"]
