"""Many connections at once: that they are safe may not make the start of a load slow."""

from __future__ import annotations

import ssl
import typing as t

from benchmarks.processes import server
from target_mainbrainer.api.http import Endpoint, Transport

if t.TYPE_CHECKING:
    import pytest


def test_the_authorities_are_read_once_for_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual ones take 45 ms to read; a load begins with up to 200 connections."""
    loaded: list[object] = []
    load = ssl.SSLContext.load_verify_locations

    def count(self: ssl.SSLContext, *files: t.Any, **options: t.Any) -> None:
        loaded.append(files)
        load(self, *files, **options)

    with server(setup=0.01) as crm:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", crm.certificate)
        monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", count)
        endpoint = Endpoint("POST", "/contacts/batch", f"{crm.url}/contacts/batch")
        for _ in range(3):
            transport = Transport(user_agent="tests", timeout_seconds=10)
            assert transport.send(endpoint, b"{}").status == 202
            transport.close()
    assert len(loaded) == 1
