"""`mainbrainer-sandbox contacts` shows what arrived."""

from __future__ import annotations

import json
import typing as t
import urllib.request

import mainbrainer_sandbox as sandbox
from mainbrainer_sandbox.command import main

if t.TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_every_property_is_a_column_also_those_an_account_has_from_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "crm.db"
    fields = [{"propertyName": name, "propertyValue": name} for name in ("firstname", "shoe_size")]
    body = {"createUpdateContacts": [{"email": "a@example.com", "propertyFields": fields}]}
    with sandbox.start(path) as crm:
        request = urllib.request.Request(  # noqa: S310 - loopback
            f"{crm.url}/contacts/batch",
            data=json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {crm.token}", "Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).close()  # noqa: S310
    assert main(["contacts", "--path", str(path)]) == 0
    head = capsys.readouterr().out.splitlines()[0].split()
    assert head[-2:] == ["firstname", "shoe_size"]
