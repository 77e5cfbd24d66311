"""What the repository names exists: jobs, plugin file, cited sections, counts and codes."""

import ast
import json
import re
import sys
import tomllib
import typing as t
from pathlib import Path

import jsonschema
import pytest
import yaml

from target_mainbrainer.contacts import RejectionCode
from target_mainbrainer.errors import TargetMainBrainerError
from tests.loads import Load, person, schema
from tests.pages import page
from tests.projects import REPOSITORY, call, printed
from tools import reference

WORKFLOWS = REPOSITORY / ".github" / "workflows"


def test_a_release_names_its_version_where_readme_names_git() -> None:
    """What the workflow does to README is enough for `make format` to do the rest."""
    flow = yaml.safe_load((WORKFLOWS / "release.yml").read_text(encoding="utf-8"))
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    (step,) = (step for step in steps if step.get("name", "").startswith("Name the version"))
    command = step["run"].splitlines()[0].replace(" -i ", " ").removesuffix(" README.md")
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    env = {"TAG": "v1.2.3", "PATH": "/usr/bin:/bin"}
    released = printed("/bin/bash", "-c", command, input=readme, env=env)
    assert reference.source_in(released) == "==1.2.3"
    assert "'target-mainbrainer[sandbox]==1.2.3'" in reference.plugin_yml(released)
    databases = (REPOSITORY / "docs" / "databases.md").read_text(encoding="utf-8")
    changed = reference.databases_md(databases, released)
    assert "'target-mainbrainer[sandbox,postgres]==1.2.3'" in changed
    assert changed != databases == reference.databases_md(databases, readme)


def test_the_tests_run_with_the_pythons_that_the_package_names() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    jobs = yaml.safe_load((WORKFLOWS / "test.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"


def test_no_file_names_the_host_of_a_registry() -> None:
    """Where packages come from is the choice of the machine they are installed on."""
    command = ["git", "grep", "-lIiE", r"python(hosted)|pypi(\.)org"]
    assert call(*command, cwd=REPOSITORY).stdout == ""


# The plugin file is in MeltanoHub's format; `make docs` writes it from what is declared

PLUGIN_FILE = REPOSITORY / "plugins" / "loaders" / "target-mainbrainer.yml"
PLUGIN: dict[str, t.Any] = yaml.safe_load(PLUGIN_FILE.read_text(encoding="utf-8"))

# What the Hub's schemas (meltano/hub, folder `schemas`) allow of a loader. They are closed: a key
# or a kind that is not listed there is refused.
SCHEMA = json.loads(Path(__file__).with_name("hub-loader.schema.json").read_text())


def test_what_is_generated_shows_what_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a change of a default is seen in `docs/settings.md`."""
    monkeypatch.setattr(sys, "argv", ["reference.py", "--check"])
    assert reference.main() == 0


def test_the_hub_would_take_it() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(PLUGIN)


# What the pages list is what there is: counts, codes and settings

REPORT = page("docs/report.md")
LISTED = set(re.findall(r"`(\w+)`", REPORT.text))


def test_all_that_the_report_file_holds_is_explained(load: Load) -> None:
    for dry_run in (False, True):
        report = load.run(schema(), person(1), dry_run=dry_run).report
        names = {*report, *report["streams"]["people"], *report["duplicates"]}
        names |= set(report.get("cost", ()))
        assert names - LISTED == set()


def test_every_reason_for_a_rejection_is_explained() -> None:
    assert {"batch_failed", *(code.value for code in RejectionCode)} - LISTED == set()


# The index from message and code to section

INDEX = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in page("docs/failures.md").text.split("## Index")[1].splitlines()
    if line.startswith("| `")
]
PHRASES = [phrase for row in INDEX for phrase in re.findall("`([^`]+)`", row[0])]
PHRASES = [phrase for phrase in PHRASES if " " in phrase]  # the others are codes of rejections
WARNING_PLACES = {"warnings", "_warnings", "problems", "_problems", "_findings"}


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
    listed = {code for row in INDEX for code in re.findall(r"`(\w+)`", row[1])}
    assert (codes(TargetMainBrainerError) | reasons) - listed == {"failed"}, "only its kinds occur"


def test_every_message_of_the_index_is_one_of_the_code() -> None:
    known = sentences().union(*map(str.splitlines, page("docs/failures.md").blocks("text")))
    assert [p for p in PHRASES if not any(regex_of(p).search(text) for text in known)] == []


def test_every_warning_is_in_the_index() -> None:
    patterns = [regex_of(phrase) for phrase in PHRASES]
    warned = sentences(warned=True)
    assert len(warned) > 15
    assert [text for text in sorted(warned) if not any(p.search(text) for p in patterns)] == []
