"""The API description matches what the sandbox does: a fuzzer reads it and tries."""

from __future__ import annotations

import shutil
import subprocess
import sysconfig
from typing import TYPE_CHECKING

from mainbrainer_sandbox.api import route

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.mainbrainer_sandbox.conftest import Client


def test_the_description_names_the_four_endpoints(crm: Client) -> None:
    description = crm.get("/openapi.json").json()
    assert description["servers"] == [{"url": crm.sandbox.url}]
    endpoints = [route(path, strict=True)[0] for path in description["paths"]]
    assert endpoints == ["token", "batch", "insertupdate", "status"]


def test_a_fuzzer_finds_no_answer_that_is_not_described(
    make: Callable[..., Client], tmp_path: Path
) -> None:
    """With more time: `schemathesis run URL/openapi.json -H 'Authorization: Bearer TOKEN'`."""
    crm = make()
    command = shutil.which("schemathesis", path=sysconfig.get_path("scripts"))
    assert command is not None
    done = subprocess.run(  # noqa: S603
        [
            command,
            "run",
            f"{crm.sandbox.url}/openapi.json",
            f"--header=Authorization: Bearer {crm.sandbox.token}",
            "--max-examples=15",
            "--seed=1",
            "--no-color",
        ],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "No issues found" in done.stdout
    statuses = {one.status for one in crm.sandbox.requests()}
    # It has been past the token and the JSON types, down to what the rules refuse and take.
    assert {200, 202, 400, 401, 404, 405, 422} <= statuses
    assert crm.contacts()
