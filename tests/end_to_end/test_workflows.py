"""The workflows run what they name, and the package says which Pythons they run it with."""

import re
import tomllib
import typing as t

import yaml

from tests.projects import REPOSITORY, call, printed
from tools import reference

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))


def workflows() -> list[dict[str, t.Any]]:
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS]


def steps() -> list[dict[str, t.Any]]:
    return [step for flow in workflows() for job in flow["jobs"].values() for step in job["steps"]]


def test_every_job_names_jobs_and_make_targets_that_exist() -> None:
    """And ends by itself, whatever hangs."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = {".venv/.ready", *re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)}
    for flow in workflows():
        for job in flow["jobs"].values():
            needs = job.get("needs", [])
            assert set([needs] if isinstance(needs, str) else needs) <= flow["jobs"].keys()
            assert job["timeout-minutes"] <= 40
    made = {name for step in steps() for name in re.findall(r"\bmake (\S+)", step.get("run", ""))}
    assert made >= {"test", "lowest", "wheel", "sbom", "format", "tests"}
    assert made <= targets


def test_a_release_names_its_version_where_readme_names_git() -> None:
    """What the workflow does to README is enough for `make format` to do the rest."""
    (step,) = (step for step in steps() if step.get("name", "").startswith("Name the version"))
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


def test_every_action_is_pinned_to_a_commit() -> None:
    """A tag can be moved to other code after it was looked at."""
    used = [step["uses"] for step in steps() if "uses" in step]
    assert len(used) > 5
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []


def test_no_checkout_leaves_its_credentials_behind() -> None:
    checkouts = [step for step in steps() if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_the_tests_run_with_the_pythons_that_the_package_names() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    (test,) = (path for path in WORKFLOWS if path.name == "test.yml")
    jobs = yaml.safe_load(test.read_text(encoding="utf-8"))["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"


def test_no_file_names_the_host_of_a_registry() -> None:
    """Where packages come from is the choice of the machine they are installed on."""
    command = ["git", "grep", "-lIiE", r"python(hosted)|pypi(\.)org"]
    assert call(*command, cwd=REPOSITORY).stdout == ""
