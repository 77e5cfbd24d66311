"""A dry run counts what the run right after it does, and changes nothing."""

from tests.loads import Ended, Load, Record, cases

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


PEOPLE = "0-299 p#"
MIXED = "0-99 p# yes, 100-299 p# no, 0-29 p# =Newer, 0-5 email=cut-off@, 6-10 p# deleted"
"""Some are rejected, merged, deleted or consent to something."""

NIGHTS = {
    "an unchanged night": (PEOPLE, {}),
    "some changed, some new": ("0-39 p# =Changed, 40-309 p#", {}),
    "a changed mapping": (PEOPLE, {"field_map": {"firstname": {"property_name": "name"}}}),
    "consent given": ("0-299 p# yes", {}),
    "a full resend": (PEOPLE, {"unchanged_contacts": "send"}),
    "a mixed night": (MIXED, {"max_rejects": 10}),
    "people who have moved": ("0-11 new#", {}),
    "without a ledger": (MIXED, {"max_rejects": 10, "ledger_uri": ""}),
}


@cases("people config", *NIGHTS.values(), ids=NIGHTS)
def test_a_dry_run_counts_as_the_run_after_it(load: Load, people: str, config: Record) -> None:
    path = load.folder / "ledger.db"
    load.settings["ledger_uri"] = str(path)
    load.ok(PEOPLE)
    before = path.read_bytes()
    dry = load.ok(people, dry_run=True, **config)
    assert path.read_bytes() == before
    real = load.ok(people, **config)
    assert plan_of(dry) == plan_of(real)
    assert real.report["requests"] >= dry.report["cost"]["requests_with_contacts"]


def test_a_dry_run_sends_and_writes_nothing(load: Load) -> None:
    load.keep_rejects()
    before = {*load.folder.iterdir()}
    ended = load.ok(MIXED, dry_run=True, ledger_uri=load.path("ledger.db"))
    assert (load.crm.requests(), ended.states) == ([], [])
    assert {path.name for path in load.folder.iterdir() if path not in before} == {"report.json"}


def test_a_dry_run_needs_no_account_and_no_sandbox(load: Load) -> None:
    without = {"dry_run": True, "access_token": "", "max_rejects": 10}
    load.ok(MIXED, **without)
    path = load.folder / "not-there.db"
    load.ok(MIXED, **without, api_url="", sandbox_path=str(path))
    assert not path.exists()


@cases("guard most", ("max_rejects", 3), ("max_rejects_percent", 1))
def test_a_guard_does_not_stop_a_dry_run(load: Load, guard: str, most: int) -> None:
    """A guard that would stop the run is named, and all input is read."""
    load.keep_rejects()
    ended = load.fails(MIXED, dry_run=True, **{guard: most})
    assert f"'{guard}'" in ended.error
    assert ended.last.endswith("nothing was sent. A run would fail.")
    assert ended.counts["read"] == 341


def test_the_cost_is_reported(load: Load) -> None:
    plan = {"rate_limit_requests": "", "rate_limit_plan": "freemium", "confirm_batches": ""}
    ended = load.ok("1-2000 p#", dry_run=True, **plan)
    requests = {"requests": 40, "requests_with_contacts": 20, "requests_to_find_moved_people": 0}
    more = {"status_questions": 20, "minutes": 0.1, "share_of_day": 0.0002}
    assert ended.report["cost"] == requests | more
    assert "Cost: 40 requests or more (20 with contacts, 20 for statuses): 0.1 minutes" in ended.log
