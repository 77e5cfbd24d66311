"""At home in Meltano: real runs of a real tap, in projects made of the repository's own."""

import json
import os
import shutil
from pathlib import Path

import jsonschema
import pytest
import yaml

from mainbrainer_sandbox.running import RunningSandbox
from tests.loads import person, schema, state
from tests.projects import LOADER, REPOSITORY, TOOLS, Project, as_environment, needs_tools

pytestmark = needs_tools
IN_FILE = 12
GOOD = 10


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The repository's project, with a copy of the sample contacts."""
    shutil.copytree(REPOSITORY / "demo", tmp_path / "demo")
    return Project(tmp_path)


# The definition


def test_meltano_finds_nothing_wrong_with_the_project(project: Project) -> None:
    """Its schema accepts the file, its commands neither warn nor rewrite it, nor print a secret."""
    (schema,) = TOOLS.glob("meltano/lib/python*/site-packages/meltano/schemas/meltano.schema.json")
    ours = yaml.safe_load((REPOSITORY / "meltano.yml").read_text())
    # Singer has a word for it, but the schema of Meltano 4.4 does not know it yet.
    ours["plugins"]["loaders"][0]["capabilities"].remove("validate-records")
    jsonschema.Draft202012Validator(json.loads(schema.read_text())).validate(ours)

    names = ("ACCESS_TOKEN", "PASSWORD", "PRIVATE_TOKEN")
    secrets = {f"TARGET_MAINBRAINER_{name}": f"made-up-{name.lower()}" for name in names}
    for command in (
        f"config list {LOADER} --all",
        f"--environment=sandbox config list {LOADER}",
        f"--environment=prod config print {LOADER}",
        *("schedule list", "job list"),
    ):
        ran = project.meltano(*command.split(), **secrets)
        assert ran.code == 0, ran.log
        assert ran.lines("[warning", "[error") == []
        assert "made-up" not in ran.out + ran.log
    written = yaml.safe_load((project.root / "meltano.yml").read_text())
    assert written == project.definition


# Runs


def test_state_is_carried_over_a_failed_run(project: Project, crm: RunningSandbox) -> None:
    """A rejected contact that is on file fails no run; the log has the reason and no contact."""
    first = project.runs("contacts", prod=True, **as_environment(crm))
    project.runs("contacts", prod=True, **as_environment(crm))
    assert project.report()["read"] == 0, "nothing has changed, so nothing is read"

    path = project.root / "demo" / "contacts.csv"
    with path.open("a", encoding="utf-8") as file:
        file.write("1013,Nora,Dahl,,nora.dahl@example.com,yes,,Bergen,,\n")
    later = path.stat().st_mtime + 60  # else the tap may not read it again
    os.utime(path, (later, later))
    failed = project.run("contacts", prod=True, **as_environment(crm, ACCESS_TOKEN="x"))
    assert failed.code != 0
    assert failed.lines("[error", "ERROR")
    for ran in (first, failed):
        assert "Traceback" not in ran.log
        assert "example.com" not in ran.log

    project.runs("contacts", prod=True, **as_environment(crm))
    assert project.report()["read"] == IN_FILE + 1
    assert len(crm.contacts()) == GOOD + 1


def test_settings_come_through_environment_variables(project: Project, crm: RunningSandbox) -> None:
    """Whole numbers, booleans and objects too, and they win over the file."""
    field_map = {"phone": "mobile", "note": None, "city": {"property_name": "town"}}
    streams = json.dumps({"contacts": {"field_map": field_map}})
    settings = {"BATCH_SIZE_ROWS": "3", "VALIDATE_RECORDS": "false", "UNMAPPED_COLUMNS": "ignore"}
    project.runs("contacts", prod=True, **as_environment(crm, **settings, STREAMS=streams))
    assert sum(request.path == "/contacts/batch" for request in crm.requests()) == 4
    properties = {name for contact in crm.contacts() for name in contact["properties"]}
    assert properties >= {"town", "firstname"}
    assert not properties & {"note", "interest", "customer_no"}


FAILING_TAP = f"""
print('''{schema()}
{person(1)}
{state(bookmarks={"people": {"read": 1}})}
{person(2)}''')
sys.exit(3)
"""


def test_what_a_failing_tap_has_read_is_delivered_and_the_run_fails(project: Project) -> None:
    """STATE goes as far as the tap had said, so that the next run reads on from there."""
    project.add_script("tap-failing", FAILING_TAP)
    assert project.run("tap-failing", LOADER).code != 0
    assert project.report("people")["accepted"] == 2
    assert project.state("tap-failing") == {"bookmarks": {"people": {"read": 1}}}


def test_a_misspelt_setting_of_meltano_yml_is_named_once(project: Project) -> None:
    """Meltano makes a variable of it, too, which the project's owner has never written."""
    project.config["default_contry_code"] = 47
    ran = project.meltano("invoke", LOADER, "--check")
    assert ran.code != 0
    (told,) = ran.lines("There is no setting")
    assert "'default_contry_code'. Did you mean 'default_country_code'?" in told
