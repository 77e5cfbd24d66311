"""What is built installs in an empty environment, and holds what it needs and no more."""

import sys
import typing as t
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests import projects
from tests.projects import REPOSITORY, TOOLS, printed

pytestmark = [projects.needs_tools, pytest.mark.xdist_group("packaging")]
UV = TOOLS / "uv" / "bin" / "uv"
PYTHON = ("--quiet", "--python", sys.executable)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist, built from what git knows of."""
    folder = tmp_path_factory.mktemp("built")
    source = projects.copy_of_the_repository(folder / "source")
    printed(UV, "build", *PYTHON, "--out-dir", folder, source)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def test_the_wheel_holds_the_package_and_nothing_else(built: dict[str, Path]) -> None:
    names = set(zipfile.ZipFile(built["wheel"]).namelist())
    packages = {"target_mainbrainer", "mainbrainer_sandbox"}
    metadata_folder = {name.split("/")[0] for name in names} - packages
    assert len(metadata_folder) == 1
    assert metadata_folder.pop().startswith("target_mainbrainer-")
    assert "target_mainbrainer/py.typed" in names
    paths = [path for package in packages for path in (REPOSITORY / package).rglob("*")]
    paths = [path for path in paths if path.is_file() and "__pycache__" not in str(path)]
    ours = {str(path.relative_to(REPOSITORY)) for path in paths}
    assert ours - names == set(), "modules, templates and style sheets alike"


def test_it_installs_in_an_empty_environment(built: dict[str, Path], tmp_path: Path) -> None:
    """Without its extra; the commands of README install it with that."""
    bin_dir = tmp_path / "venv" / "bin"
    printed(UV, "venv", *PYTHON, tmp_path / "venv")
    wanted = f"target-mainbrainer @ {built['wheel'].as_uri()}"
    printed(UV, "pip", "install", "--quiet", "--python", bin_dir / "python", wanted)

    options: t.Any = {"env": projects.clean_environment(tmp_path / "home"), "cwd": tmp_path}
    version, target = metadata.version("target-mainbrainer"), bin_dir / "target-mainbrainer"
    sdk = f"Meltano SDK v{metadata.version('singer-sdk')}"
    assert printed(target, "--version", **options).strip() == f"{target.name} v{version}, {sdk}"
    for arguments in ("--help", "--about", "--about --format=json", "--about --format=markdown"):
        assert "mainbrainer" in printed(target, *arguments.split(), **options).lower()
    module = ("-m", "target_mainbrainer", "--version")
    assert version in printed(bin_dir / "python", *module, **options)

    (tmp_path / "config.json").write_text('{"sandbox_path": "crm.db"}')
    line = '{"type":"SCHEMA","stream":"s","schema":{"properties":{"email":{}}},"key_properties":[]}'
    piped = projects.call(target, "--config", "config.json", input=line, **options)
    assert piped.returncode == 1
    assert "Install 'target-mainbrainer[sandbox]'" in piped.stderr
    assert "Traceback" not in piped.stderr
