"""`docs/databases.md` against a real PostgreSQL: its table, its `meltano.yml`, its commands."""

import shlex
from pathlib import Path

import pytest

from mainbrainer_sandbox.running import RunningSandbox
from tests.pages import page
from tests.postgresql import PostgreSQL
from tests.projects import Project, Ran, Record, as_environment, needs_tools

pytestmark = [needs_tools, pytest.mark.timeout(600)]
PAGE = page("docs/databases.md")
STREAM = "public-customers"
FULL, INCREMENTAL = "--environment=full", "--environment=incremental"
REHEARSED = ["invoke", "target-mainbrainer:sandbox", "contacts", "--path", "rehearsal.db"]
FORGET = ["invoke", "target-mainbrainer:ledger", "forget", "--stream", STREAM, "--key"]

PEOPLE = """
insert into customers (id, first_name, email, phone, newsletter, updated_at) values
  (1, 'Ingrid', 'ingrid@example.com', '07700 900123', true, '2026-01-01'),
  (2, 'Amina', 'amina@example.com', null, false, '2026-01-02'),
  (3, 'Tom', 'tom@example.com', null, true, '2026-01-03'),
  (4, 'Sofia', 'sofia@example.com', null, null, '2026-01-04')
"""


class Shop:
    """The project of the page, its database and its account."""

    def __init__(self, folder: Path, database: PostgreSQL, crm: RunningSandbox) -> None:
        self.execute = database.execute
        (table,), (ledger,), (text,) = (PAGE.blocks(kind) for kind in ("sql", "text", "yaml"))
        drops = [f"drop {kind} if exists mainbrainer" for kind in ("database", "role")]
        for command in (table, *drops, *ledger.splitlines(), PEOPLE):
            self.execute(command)
        here = database.url.partition("@")[2].partition("/")[0]
        self.project = Project(folder, text.replace("db.example.com", here))
        self.project.loader["settings"].append({"name": "api_url"})
        self._environment = exported() | as_environment(crm)
        self._environment["TAP_POSTGRES_SQLALCHEMY_URL"] = database.url
        self._crm = crm

    def run(self, environment: str, **more: str) -> Record:
        """Load the table and return the counts."""
        ran = self.meltano(environment, "run", "tap-postgres", "target-mainbrainer", **more)
        assert ran.code == 0, ran.log
        return self.project.report(STREAM)

    def meltano(self, *arguments: str, **more: str) -> Ran:
        """Run a command of Meltano's."""
        return self.project.meltano(*arguments, **self._environment | more)

    def contacts(self) -> dict[str, Record]:
        """Return the contacts by the number of their customer."""
        contacts = self._crm.contacts()
        return {contact["properties"]["customer_no"]: contact for contact in contacts}


def exported() -> dict[str, str]:
    """Return the environment variables of the page."""
    lines = "".join(PAGE.blocks("sh")).splitlines()
    words = [shlex.split(line)[1] for line in lines if line.startswith("export ")]
    return dict(word.split("=", 1) for word in words)


@pytest.fixture
def shop(tmp_path: Path, empty_postgresql: PostgreSQL, crm: RunningSandbox) -> Shop:
    return Shop(tmp_path, empty_postgresql, crm)


def test_the_commands_of_the_page_are_those_tested_here() -> None:
    """But for the installation, which docs/first-night.md tests."""
    lines = "".join(PAGE.blocks("sh")).splitlines()
    run = "run tap-postgres target-mainbrainer"
    commands = [line.partition("meltano ") for line in lines if "meltano" in line]
    assert [(before.strip(), command) for before, _, command in commands] == [
        *(("", "install"), ("TARGET_MAINBRAINER_DRY_RUN=true", run)),
        *(("TARGET_MAINBRAINER_SANDBOX_PATH=rehearsal.db", run), ("", " ".join(REHEARSED))),
        *(("", run), ("", f"{INCREMENTAL} {run}"), ("", f"{FULL} {run}")),
        ("", f"{' '.join(FORGET)} 4711"),
    ]


def test_full_reads_send_what_has_changed_and_opt_out_who_is_gone(shop: Shop) -> None:
    assert shop.run(FULL, TARGET_MAINBRAINER_DRY_RUN="true")["accepted"] == 4
    shop.run(FULL, TARGET_MAINBRAINER_SANDBOX_PATH="rehearsal.db", TARGET_MAINBRAINER_API_URL="")
    assert "ingrid@example.com" in shop.meltano(*REHEARSED).out
    assert shop.contacts() == {}

    assert shop.run(FULL)["inserted"] == 4
    ingrid = shop.contacts()["1"]
    assert ingrid["mobile_number"] == 7700900123
    assert ingrid["email_opt_in"] is True
    assert ingrid["properties"] == {"customer_no": "1", "firstname": "Ingrid"}
    assert shop.contacts()["4"]["email_opt_in"] is None

    shop.execute(
        """update customers set updated_at = now() where id = 1;
           update customers set first_name = 'Thomas', updated_at = now() where id = 3;
           delete from customers where id = 4;"""
    )
    counts = shop.run(FULL)
    assert (counts["unchanged"], counts["accepted"], counts["missing"]) == (2, 1, 1)
    assert counts["opted_out"] == 0
    assert shop.contacts()["3"]["properties"]["firstname"] == "Thomas"

    counts = shop.run(FULL)
    assert (counts["unchanged"], counts["gone"], counts["opted_out"]) == (3, 1, 1)
    assert shop.contacts()["4"]["email_opt_in"] is False
    assert shop.contacts()["4"]["mobile_opt_in"] is False

    forgotten = shop.meltano(*FORGET, "4")
    assert forgotten.code == 0, forgotten.log


def test_incremental_reads_opt_out_who_is_marked_as_deleted(shop: Shop) -> None:
    """The full read in between shares the ledger, so that it sends nothing twice."""
    assert shop.run(INCREMENTAL)["inserted"] == 4
    assert shop.run(FULL)["unchanged"] == 4

    shop.execute(
        """update customers set deleted_at = now(), updated_at = now() where id = 3;
           update customers set email = 'a.khan@example.com', updated_at = now() where id = 2;
           delete from customers where id = 1;"""
    )
    counts = shop.run(INCREMENTAL)
    assert counts["read"] == 3, "the last row of the run before is read again"
    assert (counts["accepted"], counts["moved"], counts["unchanged"]) == (2, 1, 1)
    assert counts["missing"] == 0
    contacts = shop.contacts()
    assert len(contacts) == 4
    assert contacts["2"]["email"] == "a.khan@example.com"
    assert contacts["3"]["email_opt_in"] is False
    assert contacts["1"]["email_opt_in"] is True, "an incremental read does not notice"
