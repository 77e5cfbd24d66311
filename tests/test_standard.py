"""The SDK's own suite for targets, each test against a sandbox of its own."""

import itertools
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from singer_sdk.exceptions import MissingKeyPropertiesError
from singer_sdk.testing import get_target_test_class
from singer_sdk.testing.suites import SingerTestSuite, target_tests
from singer_sdk.testing.target_tests import (
    TargetRecordMissingKeyProperty,
    TargetRecordMissingRequiredProperty,
    TargetSchemaNoProperties,
)
from typing_extensions import override

from target_mainbrainer.target import TargetMainBrainer


class SandboxedTarget(TargetMainBrainer):
    """The target with a sandbox and a rejects file of its own, and the environment shut out.

    The suite's streams are about anything but people, so most of their records are rejected for
    want of an identity: that they are, one by one, is what a target of contacts has to do.
    """

    folder: t.ClassVar[Path]
    made: t.ClassVar[list["SandboxedTarget"]] = []
    _numbers: t.ClassVar[Iterator[int]] = itertools.count()

    def __init__(self, *, config: dict[str, t.Any] | None = None, **_: t.Any) -> None:
        number = next(self._numbers)
        files = {
            "sandbox_path": str(self.folder / f"{number}.db"),
            "rejects_path": str(self.folder / f"{number}.singer"),
        }
        super().__init__(config=(config or {}) | files, parse_env_config=False)
        self.made.append(self)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> Iterator[None]:
    SandboxedTarget.folder = tmp_path
    yield
    while SandboxedTarget.made:
        target = SandboxedTarget.made.pop()
        if "current_run" in target.__dict__:
            target.current_run.abort(RuntimeError("the test is over"))


class MissingKeyIsOneRejection(TargetRecordMissingKeyProperty):
    """In place of the SDK's test of the same name, which wants the run to end.

    A record without its key costs one record here, like any other that does not fit its schema.
    """

    @override
    def test(self) -> None:
        try:
            self.runner.sync_all()
        except MissingKeyPropertiesError:
            pytest.fail("one record has ended the run")
        runs = [made.current_run for made in SandboxedTarget.made if "current_run" in made.__dict__]
        rejected = [
            s.rejected_by_code["missing_key"] for run in runs for s in run.report.streams.values()
        ]
        assert sum(rejected) == 1


REPLACED: dict[type[t.Any], type[t.Any]] = {
    TargetRecordMissingKeyProperty: MissingKeyIsOneRejection
}
BESIDE_THE_SUITE: list[type[t.Any]] = [
    TargetRecordMissingRequiredProperty,
    TargetSchemaNoProperties,
]
"""The SDK ships these, too, but does not put them into its suite."""

TestStandard = get_target_test_class(
    SandboxedTarget,
    config={"rate_limit_requests": 0, "confirm_batches": "require"},
    include_target_tests=False,
    custom_suites=[
        SingerTestSuite(
            kind="target",
            tests=[REPLACED.get(test, test) for test in target_tests.tests] + BESIDE_THE_SUITE,
        )
    ],
)


def test_every_test_of_the_suite_is_there_or_replaced_by_name() -> None:
    names = {f"test_target_{test.name}" for test in target_tests.tests}
    assert names <= set(dir(TestStandard))
    assert set(REPLACED) <= set(target_tests.tests)
