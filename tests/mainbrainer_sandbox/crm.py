"""People to send, and a client that speaks plain HTTP to a sandbox."""

import typing as t
from pathlib import Path

import pytest
import requests

from mainbrainer_sandbox.command import main
from mainbrainer_sandbox.running import RunningSandbox

Record: t.TypeAlias = dict[str, t.Any]
A, B = {"email": "a@example.com"}, {"email": "b@example.com"}
BATCH, SINGLE = "/contacts/batch", "/contacts/insertupdate"
LISTS = ["3fa85f64-5717-4562-b3fc-2c963f66afa6", "9fc6ad7d-902a-4834-b161-a4911b883d44"]


def prop(name: str, value: t.Any = "x") -> list[Record]:
    return [{"propertyName": name, "propertyValue": value}]


def a(*properties: list[Record]) -> Record:
    """Return the contact A with these properties."""
    return {**A, "propertyFields": [one for fields in properties for one in fields]}


NOTE = 'a "quoted",\nsecond line\x1b[31m'
ADA: Record = {"email": "ada@example.com", "emailOptIn": True}
ADA["propertyFields"] = prop("city", "Oslo") + prop("note", NOTE)
BOB: Record = {"mobileCountryCode": 44, "mobileNumber": 7700900001, "mobileOptIn": False}


class Crm:
    """A sandbox, and requests to it with its token.

    Args:
        get: Returns fixtures.
        name: Of its file.

    Attributes:
        patch: Pytest's `monkeypatch`.
        log: The log.
        printed: What the command prints.
    """

    def __init__(self, get: t.Callable[[str], t.Any], name: str = "x.db", **more: t.Any) -> None:
        self._get = get
        self.patch: pytest.MonkeyPatch = get("monkeypatch")
        self.log: pytest.LogCaptureFixture = get("caplog")
        self.printed: pytest.CaptureFixture[str] = get("capsys")
        self.sandbox: RunningSandbox = get("start_crm")(name, **({"plan": "unlimited"} | more))
        self.headers = {"Authorization": f"Bearer {self.sandbox.token}"}

    def another(self, name: str = "other.db", **options: t.Any) -> t.Self:
        """Start another one, or the one of this name again."""
        return type(self)(self._get, name, **options)

    def again(self, **options: t.Any) -> t.Self:
        """Close this one and start it again."""
        self.sandbox.close()
        return self.another(self.sandbox.path.name, **options)

    def ask(self, method: str, path: str, **options: t.Any) -> requests.Response:
        """Send a request, without a token unless it is given."""
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, self.sandbox.url + path, **{"timeout": 20} | options)

    def post(self, path: str, body: t.Any, **headers: str) -> requests.Response:
        return self.ask("POST", path, json=body, headers=self.headers | headers)

    def get(self, path: str) -> requests.Response:
        return self.ask("GET", path, headers=self.headers)

    def batch(self, *contacts: t.Any, **request: t.Any) -> requests.Response:
        return self.post(BATCH, {"createUpdateContacts": list(contacts), **request})

    def single(self, **contact: t.Any) -> requests.Response:
        return self.post(SINGLE, contact)

    def status(self, response: requests.Response) -> Record:
        """Return the status of the batch of an answer, once it is processed."""
        self.sandbox.settle()
        batch_id = response.json()["data"]["BatchId"]
        return t.cast("Record", self.get(f"/contacts/{batch_id}/Status").json())

    def token(self, **changes: t.Any) -> requests.Response:
        """Ask for a token with the sandbox's credentials, but for some changes."""
        known = self.sandbox.credentials
        body = {"userName": known.username, "password": known.password}
        return self.post("/token", body | {"privateToken": known.private_token, **changes})

    def contacts(self) -> list[Record]:
        return self.sandbox.contacts()

    @property
    def contact(self) -> Record:
        """The one contact."""
        (contact,) = self.contacts()
        return contact

    @property
    def emails(self) -> list[str]:
        return [contact["email"] for contact in self.contacts()]

    def file(self, name: str, *contacts: Record) -> Path:
        """Return the path of another sandbox's file with these contacts in it."""
        other = self.another(name)
        for contact in contacts:
            other.single(**contact)
        other.sandbox.close()
        return other.sandbox.path

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Run the command; return its exit code and what it prints."""
        code = main([str(one) for one in arguments])
        return (code, *self.printed.readouterr())

    def prints(self, command: str, path: Path, *arguments: object) -> str:
        """Run the command on a file, which works, and return what it prints."""
        code, out, err = self.run(command, "--path", path, *arguments)
        assert code == 0, err
        return out


class Clock:
    """A clock that a test sets: seconds since the epoch."""

    def __init__(self) -> None:
        self.time = 1_795_000_000.0

    def __call__(self) -> float:
        return self.time
