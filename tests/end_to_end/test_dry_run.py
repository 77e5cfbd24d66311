"""A dry run counts what the run right after it does, and changes nothing."""

from tests.loads import Ended, Load, Record, cases, person, schema, state

PLANNED = [
    *("read", "accepted", "merged", "unchanged", "omitted", "rejected", "undelivered"),
    *("rejected_by_code", "dropped_by_code", "rejected_before_sending", "opt_ins_withheld"),
    *("moved", "not_followed_by_reason", "old_parts_kept"),
    *("created", "updates", "opt_ins_given", "opt_ins_withdrawn", "missing", "changed_columns"),
]
"""What a run's report says, too, and has to say the same of."""


def plan_of(ended: Ended) -> Record:
    streams = ended.report["streams"].items()
    return {name: {count: counts[count] for count in PLANNED} for name, counts in streams}


def mixed() -> list[str]:
    """People of whom some are rejected, merged, deleted or consent to something."""
    lines = [schema()]
    for n in range(300):
        lines.append(person(n, email_opt_in=n % 3 == 0))
        lines += [person(n, firstname="Newer")] * (n % 10 == 0)
        lines += [person(n, email="cut-off@")] * (n % 50 == 0)
        lines += [person(n, _sdc_deleted_at="2026-01-01")] * (n % 60 == 0)
    return [*lines, state(bookmark=1)]


def people(changed: int = 0, new: int = 0, **columns: object) -> list[str]:
    """Three hundred people; some have changed since the night before, and some are new."""
    names = ["Changed" if n < changed else f"First{n}" for n in range(300 + new)]
    rows = [person(n, firstname=name, **columns) for n, name in enumerate(names)]
    return [schema(), *rows, state(bookmark=1)]


def moved(count: int) -> list[str]:
    return [schema(), *(person(n, email=f"new{n}@example.com") for n in range(count))]


def test_a_dry_run_and_the_run_after_it_count_alike(load: Load) -> None:
    settings = {"rejects_path": load.path("rejects.singer")}
    dry = load.ok(*mixed(), dry_run=True, **settings)
    real = load.ok(*mixed(), **settings)
    assert plan_of(dry) == plan_of(real)
    assert dry.report["cost"]["requests_with_contacts"] == real.report["requests"]


NIGHTS = {
    "an unchanged night": (people(), {}),
    "some changed, some new": (people(changed=40, new=10), {}),
    "a changed mapping": (people(), {"field_map": {"firstname": {"property_name": "name"}}}),
    "consent given": (people(email_opt_in=True), {}),
    "a full resend": (people(), {"unchanged_contacts": "send"}),
    "a mixed night": (mixed(), {"max_rejects": 10}),
    "people who have moved": (moved(12), {}),
}


@cases("lines config", *NIGHTS.values(), ids=NIGHTS)
def test_a_dry_run_with_a_ledger(load: Load, lines: list[str], config: Record) -> None:
    """With a ledger, a dry run and the run after it have the same counts."""
    path = load.folder / "ledger.db"
    load.settings["ledger_uri"] = str(path)
    load.ok(*people())
    before = path.read_bytes()
    dry = load.ok(*lines, dry_run=True, **config)
    assert path.read_bytes() == before
    assert plan_of(dry) == plan_of(load.ok(*lines, **config))


def test_a_dry_run_sends_and_writes_nothing(load: Load) -> None:
    load.keep_rejects()
    before = {*load.folder.iterdir()}
    ended = load.ok(*mixed(), dry_run=True, ledger_uri=load.path("ledger.db"))
    assert (load.crm.requests(), ended.states) == ([], [])
    assert {path.name for path in load.folder.iterdir() if path not in before} == {"report.json"}


def test_a_dry_run_needs_no_account_and_no_sandbox(load: Load) -> None:
    without = {"dry_run": True, "access_token": "", "max_rejects": 10}
    load.ok(*mixed(), **without)
    path = load.folder / "not-there.db"
    load.ok(*mixed(), **without, api_url="", sandbox_path=str(path))
    assert not path.exists()


@cases("guard most", ("max_rejects", 3), ("max_rejects_percent", 1))
def test_a_guard_does_not_stop_a_dry_run(load: Load, guard: str, most: int) -> None:
    """A guard that would stop the run is named, and all input is read."""
    lines = mixed()
    load.keep_rejects()
    ended = load.fails(*lines, dry_run=True, **{guard: most})
    assert f"'{guard}'" in ended.error
    assert ended.last.endswith("nothing was sent. A run would fail.")
    assert ended.counts["read"] == len(lines) - 2


def test_the_cost_is_reported(load: Load) -> None:
    rows = [person(n) for n in range(1, 2001)]
    plan = {"rate_limit_requests": "", "rate_limit_plan": "freemium", "confirm_batches": ""}
    ended = load.ok(schema(), *rows, dry_run=True, **plan)
    requests = {"requests": 40, "requests_with_contacts": 20, "requests_to_find_moved_people": 0}
    more = {"status_questions": 20, "minutes": 0.1, "share_of_day": 0.0002}
    assert ended.report["cost"] == requests | more
    assert "Cost: 40 requests or more (20 with contacts, 20 for statuses): 0.1 minutes" in ended.log
