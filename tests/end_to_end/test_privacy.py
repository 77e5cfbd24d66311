"""No contact data, no token and no body in the log, at any level, whatever goes wrong."""

from __future__ import annotations

import json
import logging
import threading
import typing as t
from urllib.parse import quote

import pytest
import requests

from target_mainbrainer.privacy import explain
from tests import broken_server
from tests.broken_server import Reply
from tests.full_disk import fill_disk
from tests.messages import record, schema, state

if t.TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox
    from tests.broken_server import Request, Serve
    from tests.messages import RunTarget


@pytest.fixture
def log_level() -> int:
    return logging.DEBUG


TOKEN = "tokenthatnobodymaysee"
SECRETS = {"username": "zoe@example.org", "password": "pwzzyzx", "private_token": "pt-zzyzx-9"}

COLUMNS = {
    "id": {"type": "integer"},
    "email": {"type": ["string", "null"]},
    "mobile": {"type": ["string", "null"]},
    "firstname": {"type": ["string", "null"]},
    "city": {"type": ["string", "null"], "maxLength": 30},
    "email_opt_in": {},
}


def people() -> Iterator[dict[str, t.Any]]:
    """People in whose records everything can go wrong, with values found nowhere else."""
    for n in range(1, 121):
        yield {
            "id": 770_000 + n,
            "email": f"{'bad' if n % 40 == 0 else 'quux'}{n}@xyzzy{n}.example.com",
            "mobile": f"+47 900 00 {n:03}",
            "firstname": f"Plugh{n}",
            "city": f"Frobozz{n}",
        }
    yield {"id": 770_200, "email": "grue200 at example", "firstname": "Plugh200"}
    yield {"id": 770_201, "email": None, "mobile": "hardlyanumber201"}
    yield {"id": 770_202, "email": "quux202@example.com", "email_opt_in": "perhaps202"}
    yield {"id": 770_203, "email": "quux203@example.com", "city": "Frobozz203" * 10}
    yield {"id": "notanumber204", "email": "quux204@example.com"}
    yield {"id": 770_205, "email": "quux205@example.com", "firstname": None}


def values() -> set[str]:
    """Everything that was sent, and the spellings in which it may come back."""
    found = {TOKEN, *SECRETS.values(), "zzyzx"}
    for columns in people():
        for name, value in columns.items():
            if name != "id" and isinstance(value, str):
                found |= {value, value.upper(), value.partition("@")[0]}
                found.add(value.replace(" ", "").removeprefix("+47"))
    return {value for value in found if len(value) > 3}


def lines() -> list[str]:
    return [schema(COLUMNS), *(record(**columns) for columns in people()), state(bookmark=1)]


def search(text: str) -> None:
    """Fail if anything that was sent can be found."""
    assert text
    folded = text.casefold()
    assert [value for value in values() if value.casefold() in folded] == []
    assert "Traceback" not in text


FAULTS = [
    pytest.param([], {}, id="all well"),
    pytest.param(["503@p0.3"], {}, id="5xx"),
    pytest.param(["reset@p0.3", "lost@p0.2"], {}, id="lost"),
    pytest.param(["cut@2-99"], {}, id="cut"),
    pytest.param(["html@2-99"], {}, id="html"),
    pytest.param(["302@2-99"], {}, id="redirect"),
    pytest.param(["401@2-99"], {}, id="401"),
    pytest.param(["403@2-99"], {}, id="403"),
    pytest.param(["429@2-99"], {}, id="429"),
    pytest.param(["413@2-99"], {}, id="413"),
    pytest.param(["hang@2-99"], {}, id="silence"),
    pytest.param(["skip=3", "fail@2:batch"], {}, id="skips and failures"),
    pytest.param([], {"error_body": "html"}, id="html refusals"),
    pytest.param([], {"error_body": "problem"}, id="problem details"),
    pytest.param(["422:batch", "422:insertupdate"], {}, id="wrong account"),
]


@pytest.mark.parametrize(("faults", "switches"), FAULTS)
def test_the_log_tells_nothing_of_anybody(
    run_target: RunTarget,
    start_crm: Callable[..., RunningSandbox],
    faults: list[str],
    switches: dict[str, t.Any],
) -> None:
    crm = start_crm(plan="unlimited", refuse_email="bad", token=TOKEN, faults=faults, **switches)
    ended = run_target(
        *lines(),
        api_url=crm.url,
        access_token=TOKEN,
        batch_size_rows=20,
        max_rejects=50,
        retry_max_seconds=1,
        request_timeout_seconds=1,
        confirm_batches="report",
        confirm_timeout_seconds=1,
    )
    search(ended.log)


def parrot(status: int, content_type: str) -> Callable[[Request], Reply]:
    """A server that repeats in its answer whatever it is sent."""

    def answer(request: Request) -> Reply:
        words = request.body.decode()
        body: object = {"status": "Error", "message": f"Do not send {words} with {request.token}"}
        if content_type != "application/json":
            body = f"<html><title>{words} {request.token}</title></html>".encode()
        return broken_server.reply(
            status,
            body,
            content_type=content_type,
            headers={"Location": f"http://127.0.0.1/?q={request.token}"},
        )

    return answer


@pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 403, 404, 406, 409, 413, 422, 500])
@pytest.mark.parametrize("content_type", ["application/json", "text/html"])
def test_nothing_is_told_either_if_the_server_repeats_it_all(
    run_target: RunTarget, serve: Serve, status: int, content_type: str
) -> None:
    serve(parrot(status, content_type))
    ended = run_target(*lines(), access_token=TOKEN, max_rejects=500, retry_max_seconds=1)
    search(ended.log)


def test_credentials_are_not_told_either(
    run_target: RunTarget, serve: Serve, settings: dict[str, t.Any]
) -> None:
    del settings["access_token"]
    serve(parrot(422, "application/json"))
    ended = run_target(*lines(), **SECRETS)
    assert ended.code == 1
    search(ended.log)


FORGED = "\nERROR    target-mainbrainer:forged.py:1 FORGED\r\x0b\u2028\x1b[2J"


class Hostile:
    """Repeats what was sent, in every place that a response has, and tries to forge a line."""

    def __init__(self) -> None:
        self._sent: dict[str, list[dict[str, t.Any]]] = {}

    def __call__(self, request: Request) -> Reply:
        if request.path == "/token":
            return broken_server.reply(200, {"access_token": SHORT_TOKEN, "expires_in": 7200})
        if request.method == "GET":
            return self._status(request)
        sent = json.loads(request.body)["createUpdateContacts"]
        words = self._words(sent)
        if request.number % 5 == 4:
            head = f"HTTP/1.1 503 {SHORT_TOKEN}\r\n {words[:40]}\r\nPlugh {SHORT_TOKEN}\r\n\r\n"
            return Reply(head.encode(), then="close")
        batch_id = (words, f"{SHORT_TOKEN}-{request.number}", f"c0ffee{request.number:02}")[
            request.number % 3
        ]
        self._sent[quote(batch_id, safe="")] = sent
        emails = [contact.get("email") for contact in sent]
        data = {
            "BatchId": batch_id,
            "InvalidProperties": [words, *emails, {"propertyName": "Plugh", "propertyId": words}],
            "InvalidContactIds": [words, *emails, {"contactId": words}],
        }
        return broken_server.reply(202, {"status": "Success", "message": words, "data": data})

    def _status(self, request: Request) -> Reply:
        words = self._words(self._sent[request.path.split("/")[2]])
        counts = {"count": 20, "contactIds": [words]}
        status = {"status": words, "statusText": words, "processedObj": {"inserted": counts}}
        reason = {"statusFailedReason": {"why": words}} if request.number % 2 else {}
        return broken_server.reply(200, status | reason)

    @staticmethod
    def _words(sent: list[dict[str, t.Any]]) -> str:
        values = [field["propertyvalue"] for field in sent[0]["propertyfields"]]
        named = " ".join([SHORT_TOKEN, SECRETS["password"], str(sent[0].get("email")), *values])
        return f"{named} {FORGED}"


SHORT_TOKEN = "abad1dea"


@pytest.mark.parametrize("rejects_path", [None, "rejects.jsonl"])
def test_no_server_gets_its_words_into_the_log(
    run_target: RunTarget,
    serve: Serve,
    settings: dict[str, t.Any],
    tmp_path: Path,
    rejects_path: str | None,
) -> None:
    """Not as an id, a name, a status or a header, and not as a line of its own."""
    del settings["access_token"]
    serve(Hostile())
    ended = run_target(
        *lines(),
        **SECRETS,
        batch_size_rows=20,
        max_rejects=500,
        max_rejects_percent=100,
        rejects_path=str(tmp_path / rejects_path) if rejects_path else None,
        retry_max_seconds=20,
        confirm_batches="report",
        confirm_timeout_seconds=5,
    )
    search(ended.log)
    assert SHORT_TOKEN not in ended.log.casefold()
    assert not [
        line
        for line in ended.log.splitlines()
        if line.startswith("ERROR    target-m") and "forged.py" in line
    ]
    assert "\x1b" not in ended.log


@pytest.mark.parametrize(
    "stream_map",
    [
        pytest.param({"firstname": "firstname.upper()"}, id="an expression"),
        pytest.param({"__filter__": "firstname.endswith('1')"}, id="a filter"),
        pytest.param({"firstname": "int(firstname)"}, id="one that fails"),
        pytest.param({"firstname": "no_such_name + firstname"}, id="one that cannot be"),
        pytest.param({"email": "md5(email)"}, id="a digest"),
    ],
)
def test_stream_maps_tell_nothing_about_the_records(
    run_target: RunTarget, stream_map: dict[str, t.Any]
) -> None:
    """The SDK logs what each expression makes of each record."""
    ended = run_target(*lines(), stream_maps={"people": stream_map}, max_rejects=500)
    search(ended.log)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(
            '{"type": "RECORD", "stream": "people", "record": {"email": "quux1@x', id="cut"
        ),
        pytest.param("quux1@xyzzy1.example.com", id="no JSON"),
        pytest.param('{"type": "RECORD", "record": {"firstname": "Plugh1"}}', id="no stream"),
        pytest.param('{"type": "RECORD", "stream": "Plugh1", "record": "Plugh1"}', id="no record"),
        pytest.param('{"type": "Plugh1"}', id="no type"),
        pytest.param('["Plugh1"]', id="no object"),
        pytest.param('{"type": "STATE", "value": "Plugh1"}', id="no state"),
        pytest.param(
            '{"type": "SCHEMA", "stream": "x", "schema": {"type": "Plugh1"}}', id="schema"
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_not_repeated(run_target: RunTarget, line: str) -> None:
    ended = run_target(schema(COLUMNS), line)
    assert ended.code == 1
    search(ended.log)


def test_a_fault_of_ours_is_told_by_its_place_alone(
    run_target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> t.Any:
        message = f"Plugh1 {TOKEN} {json.dumps(next(people()))}"
        raise RuntimeError(message)

    monkeypatch.setattr(requests.Session, "send", fail)
    ended = run_target(*lines(), access_token=TOKEN, max_rejects=50)
    assert ended.code == 1
    assert "Unexpected RuntimeError" in ended.error
    assert "in fail" in ended.error
    search(ended.log)


def test_a_thread_that_dies_tells_its_place_alone(
    run_target: RunTarget, caplog: pytest.LogCaptureFixture
) -> None:
    run_target(schema()).ok()
    caplog.clear()

    def die() -> None:
        message = "Plugh1"
        raise RuntimeError(message)

    thread = threading.Thread(target=die)
    thread.start()
    thread.join()
    assert "Unexpected RuntimeError" in caplog.text
    search(caplog.text)


@pytest.mark.usefixtures("rejects")
def test_nothing_is_told_when_the_disk_is_full(
    run_target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch)
    ended = run_target(*lines())
    assert "cannot be written (No space left on device)" in ended.error
    assert ended.log.count("s waited for the limits") == 1, "the summary comes all the same"
    search(ended.log)


def test_the_text_of_an_unexpected_error_is_not_told() -> None:
    try:
        int("Plugh1")
    except ValueError as error:
        (sentence,) = explain(error)
    assert "Plugh1" not in sentence
    assert "test_privacy.py" in sentence
