"""What the pages list is what there is: counts, codes and settings."""

import ast
import re
import typing as t

from target_mainbrainer.contacts import RejectionCode
from target_mainbrainer.errors import TargetMainBrainerError
from target_mainbrainer.report.counts import StreamReport
from tests.loads import Load
from tests.messages import person, schema
from tests.pages import page
from tests.projects import REPOSITORY

REPORT = page("docs/report.md")
LISTED = set(re.findall(r"`(\w+)`", REPORT.text))


def test_everything_counted_is_explained() -> None:
    assert set(StreamReport().as_dict()) - LISTED == set()


def test_all_that_the_report_file_holds_is_explained(load: Load) -> None:
    for dry_run in (False, True):
        report = load.run(schema(), person(1), dry_run=dry_run).report
        names = {*report, *report["streams"]["people"], *report["duplicates"]}
        names |= set(report.get("cost", ()))
        assert names - LISTED == set()


def test_every_reason_for_a_rejection_is_explained() -> None:
    assert {"batch_failed", *(code.value for code in RejectionCode)} - LISTED == set()


# The index from message and code to section

FAILURES = page("docs/failures.md").text
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in FAILURES.split("## Index")[1].splitlines()
    if line.startswith("| `")
]
PHRASES = [phrase for row in ROWS for phrase in re.findall("`([^`]+)`", row[0])]
PHRASES = [phrase for phrase in PHRASES if " " in phrase]  # the others are codes of rejections
WARNING_PLACES = {"warnings", "_warnings", "problems", "_problems", "findings"}


def sentences(*, warned: bool = False) -> set[str]:
    """Return all texts in the code, `{}` for what is filled in; or only what warns of something."""
    found = set()
    for file in (REPOSITORY / "target_mainbrainer").rglob("*.py"):
        if file.stem == "mapping_tests":
            continue
        nodes = [*ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
        if warned:
            functions = [n for n in nodes if isinstance(n, ast.FunctionDef)]
            named = [n for n in functions if n.name in WARNING_PLACES]
            yielded = [n for one in named for n in ast.walk(one) if isinstance(n, ast.Yield)]
            calls = [n for n in nodes if isinstance(n, ast.Call) and n.args]
            logged = [n for n in calls if getattr(n.func, "attr", "") == "warning"]
            nodes = [t.cast("ast.AST", n.value) for n in yielded] + [n.args[0] for n in logged]
        for node in nodes:
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            words = [str(one.value) if isinstance(one, ast.Constant) else "{}" for one in parts]
            found.add(re.sub(r"%(\.\d)?\w", "{}", "".join(words)))
    return {text for text in found if len(text.split()) > 3}


def regex_of(phrase: str) -> re.Pattern[str]:
    """Return what a phrase of the index matches in the code."""
    parts = re.split(r"\.\.\.|\b\d+\b|SIGTERM", phrase)
    return re.compile(r".*".join(map(re.escape, parts)))


def test_every_code_of_a_failed_run_leads_to_a_section() -> None:
    def codes(error: type[TargetMainBrainerError]) -> set[str]:
        return {error.code}.union(*map(codes, error.__subclasses__()))

    reasons = {"nothing_accepted", "max_rejects", "max_rejects_percent", "unexpected"}
    reasons |= {"max_drift_percent", "max_new_contacts", "unconfirmed"}
    listed = {code for row in ROWS for code in re.findall(r"`(\w+)`", row[1])}
    assert (codes(TargetMainBrainerError) | reasons) - listed == {"failed"}, "only its kinds occur"


def test_every_message_of_the_index_is_one_of_the_code() -> None:
    known = sentences().union(*map(str.splitlines, page("docs/failures.md").blocks("text")))
    assert [p for p in PHRASES if not any(regex_of(p).search(text) for text in known)] == []


def test_every_warning_is_in_the_index() -> None:
    patterns = [regex_of(phrase) for phrase in PHRASES]
    warned = sentences(warned=True)
    assert len(warned) > 20
    assert [text for text in sorted(warned) if not any(p.search(text) for p in patterns)] == []
