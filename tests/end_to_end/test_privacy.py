"""No contact data, no token and no body in the log, at any level and after any fault."""

import json
import logging
import threading
import typing as t
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest
import requests

from tests import broken_server
from tests.broken_server import Reply, Request, Serve
from tests.loads import TEXT, Load, Record, cases, record, schema, state


@pytest.fixture
def log_level() -> int:
    return logging.DEBUG


TOKEN, SHORT_TOKEN = "tokenthatnobodymaysee", "abad1dea"
SECRETS = {"username": "zoe@example.org", "password": "pwzzyzx", "private_token": "pt-zzyzx-9"}

COLUMNS: Record = {"id": {"type": "integer"}, "city": TEXT | {"maxLength": 30}, "email_opt_in": {}}
COLUMNS |= dict.fromkeys(("email", "mobile", "firstname"), TEXT)


def people() -> Iterator[Record]:
    """People in whose records everything can go wrong, with values found nowhere else."""
    for n in range(1, 121):
        email = f"{'bad' if n % 40 == 0 else 'quux'}{n}@xyzzy{n}.example.com"
        one = {"id": 770_000 + n, "email": email, "mobile": f"+47 900 00 {n:03}"}
        yield one | {"firstname": f"Plugh{n}", "city": f"Frobozz{n}"}
    yield {"id": 770_200, "email": "grue200 at example", "firstname": "Plugh200"}
    yield {"id": 770_201, "email": None, "mobile": "hardlyanumber201"}
    yield {"id": 770_202, "email": "quux202@example.com", "email_opt_in": "perhaps202"}
    yield {"id": 770_203, "email": "quux203@example.com", "city": "Frobozz203" * 10}
    yield {"id": "notanumber204", "email": "quux204@example.com"}
    yield {"id": 770_205, "email": "quux205@example.com", "firstname": None}


def values() -> set[str]:
    """Everything that was sent, and the spellings in which it may come back."""
    found = {TOKEN, SHORT_TOKEN, *SECRETS.values(), "zzyzx"}
    for columns in people():
        for value in columns.values():
            if isinstance(value, str):
                found |= {value, value.partition("@")[0]}
                found.add(value.replace(" ", "").removeprefix("+47"))
    return {value.casefold() for value in found if len(value) > 3}


LINES = [schema(COLUMNS), *(record(**columns) for columns in people()), state(bookmark=1)]


def search(text: str) -> None:
    """Fail if anything that was sent can be found."""
    assert text
    folded = text.casefold()
    assert [value for value in values() if value in folded] == []
    assert "Traceback" not in text


FAULTS: dict[str, tuple[list[str], Record]] = {
    "all well": ([], {}),
    "5xx": (["503@p0.3"], {}),
    "lost": (["reset@p0.3", "lost@p0.2"], {}),
    **{fault: ([f"{fault}@2-99"], {}) for fault in ("cut", "html", "302", "401", "403", "429")},
    **{fault: ([f"{fault}@2-99"], {}) for fault in ("413", "hang")},
    **{f"body {body}": ([], {"error_body": body}) for body in ("html", "problem")},
    "skips and failures": (["skip=3", "fail@2:batch"], {}),
    "wrong account": (["422:batch", "422:insertupdate"], {}),
}


@cases("faults switches", *FAULTS.values(), ids=FAULTS)
def test_the_log_contains_no_contact_data(load: Load, faults: list[str], switches: Record) -> None:
    load.crm.set_switches(refuse_email="bad", **switches)
    load.crm.set_faults(*faults)
    seconds = ("retry_max", "request_timeout", "confirm_timeout")
    config = {f"{name}_seconds": 1 for name in seconds} | {"confirm_batches": "report"}
    config |= {"batch_size_rows": 20, "max_rejects": 50, "ledger_uri": load.path("ledger.db")}
    for _ in range(2):  # in the second night the ledger has rows to be read
        load.caplog.set_level(logging.DEBUG, "sqlalchemy.engine")
        ended = load.run(*LINES, **config)
        search(ended.log)
        assert load.crm.token not in ended.log
        assert "sqlalchemy" not in ended.log


def parrot(status: int, content_type: str) -> Callable[[Request], Reply]:
    """A server that repeats in its answer all that it is sent."""

    def answer(request: Request) -> Reply:
        words = request.body.decode()
        body: object = {"status": "Error", "message": f"Do not send {words} with {request.token}"}
        if content_type != "application/json":
            body = f"<html><title>{words} {request.token}</title></html>".encode()
        location = {"Location": f"http://127.0.0.1/?q={request.token}"}
        return broken_server.reply(status, body, content_type=content_type, headers=location)

    return answer


@cases("status", 200, 202, 302, 400, 401, 403, 404, 406, 409, 413, 422, 500)
@cases("content_type", "application/json", "text/html")
def test_an_echo_is_redacted(load: Load, serve: Serve, status: int, content_type: str) -> None:
    """Nothing private is logged if the server repeats all of it."""
    serve(parrot(status, content_type))
    search(load.run(*LINES, access_token=TOKEN, max_rejects=500, retry_max_seconds=1).log)


FORGED = "\nERROR    target-mainbrainer:forged.py:1 FORGED\r\x0b\u2028\x1b[2J"


class Hostile:
    """Repeats what was sent, in every place that a response has, and tries to forge a line."""

    def __init__(self) -> None:
        self._sent: dict[str, list[Record]] = {}

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
        number = request.number
        batch_id = (words, f"{SHORT_TOKEN}-{number}", f"c0ffee{number:02}")[number % 3]
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
    def _words(sent: list[Record]) -> str:
        values = [field["propertyvalue"] for field in sent[0]["propertyfields"]]
        named = " ".join([SHORT_TOKEN, SECRETS["password"], str(sent[0].get("email")), *values])
        return f"{named} {FORGED}"


@cases("rejects_path", "", "rejects.singer")
def test_no_server_gets_words_into_the_log(load: Load, serve: Serve, rejects_path: str) -> None:
    """Not as an id, a name, a status or a header, and not as a line of its own."""
    serve(Hostile())
    path = load.path(rejects_path) if rejects_path else None
    load.settings |= {"access_token": "", "rejects_path": path, "max_rejects_percent": 100}
    load.settings |= {"retry_max_seconds": 20, "confirm_timeout_seconds": 5}
    more = {"batch_size_rows": 20, "max_rejects": 500, "confirm_batches": "report"}
    log = load.run(*LINES, **SECRETS, **more).log
    search(log)
    starts = [line for line in log.splitlines() if line.startswith("ERROR    target-m")]
    assert not any("forged.py" in line for line in starts)
    assert "\x1b" not in log


@cases(
    "stream_map",
    *({"firstname": "firstname.upper()"}, {"__filter__": "firstname.endswith('1')"}),
    *({"firstname": "int(firstname)"}, {"firstname": "no_such_name + firstname"}),
    {"email": "md5(email)"},
    ids=str,
)
def test_stream_maps_log_no_record(load: Load, stream_map: Record) -> None:
    """The SDK logs what each expression makes of each record."""
    search(load.run(*LINES, stream_maps={"people": stream_map}, max_rejects=500).log)


def test_a_fault_of_ours_is_named_by_its_place(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> t.Any:
        message = f"Plugh1 {TOKEN} {json.dumps(next(people()))}"
        raise RuntimeError(message)

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", fail)
    ended = load(*LINES, access_token=TOKEN, max_rejects=50).failed("Unexpected Runtime", "in fail")
    assert [reason["code"] for reason in ended.report["reasons"]] == ["unexpected"]
    search(ended.log + json.dumps(ended.report))


def test_a_dead_thread_is_named_by_its_place(load: Load, caplog: pytest.LogCaptureFixture) -> None:
    load.ok(schema())
    caplog.clear()
    thread = threading.Thread(target=int, args=["Plugh1"])
    thread.start()
    thread.join()
    assert "Unexpected ValueError" in caplog.text
    search(caplog.text)
