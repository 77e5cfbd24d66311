"""What the target relies on in the SDK, and the SDK's own suite for targets.

That messages, STATE and records pass through the SDK as the target needs it is shown by whole runs.
When one of these fails after an upgrade, read what is said about it in the docstring of
`target_mainbrainer.target`, look at what the SDK does now, and decide again.
"""

import inspect
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
from singer_sdk.exceptions import MissingKeyPropertiesError
from singer_sdk.testing import get_target_test_class
from singer_sdk.testing import target_tests as theirs
from singer_sdk.testing.suites import SingerTestSuite, target_tests
from typing_extensions import override

from target_mainbrainer.singer.reader import MessageReader
from target_mainbrainer.sinks import ContactsSink
from target_mainbrainer.target import TargetMainBrainer
from tests.loads import cases


@cases("ours", TargetMainBrainer, ContactsSink, MessageReader)
def test_every_method_that_is_overridden_is_still_one_of_the_sdks(ours: type) -> None:
    overriding = {name: what for name, what in vars(ours).items() if hasattr(what, "__override__")}
    assert overriding
    for name, what in overriding.items():
        theirs = getattr(super(ours, ours), name)
        assert list(inspect.signature(what).parameters) == [*inspect.signature(theirs).parameters]


# The SDK's own suite for targets, each test against a sandbox of its own


class SandboxedTarget(TargetMainBrainer):
    """The target with a sandbox and a rejects file of its own, and the environment shut out.

    The suite's streams are about anything but people, so most of their records are rejected for
    want of an identity: that they are, one by one, is what a target of contacts has to do.
    """

    folder: t.ClassVar[Path]
    made: t.ClassVar[list["SandboxedTarget"]] = []

    def __init__(self, *, config: dict[str, t.Any] | None = None, **_: t.Any) -> None:
        number = len(self.made)
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
        if target.begun is not None:
            target.begun.abort(RuntimeError("the test is over"))


class MissingKeyIsOneRejection(theirs.TargetRecordMissingKeyProperty):
    """In place of the SDK's test of the same name, which wants the run to end.

    A record without its key costs one record here, like any other that does not fit its schema.
    """

    @override
    def test(self) -> None:
        try:
            self.runner.sync_all()
        except MissingKeyPropertiesError:
            pytest.fail("one record has ended the run")
        runs = [made.begun for made in SandboxedTarget.made if made.begun is not None]
        streams = [one for run in runs for one in run.report.streams.values()]
        rejected = [one.rejected_by_code["missing_key"] for one in streams]
        assert sum(rejected) == 1


OURS: t.Any = {theirs.TargetRecordMissingKeyProperty: MissingKeyIsOneRejection}
BESIDE: t.Any = [theirs.TargetRecordMissingRequiredProperty, theirs.TargetSchemaNoProperties]
"""The SDK ships these, too, but does not put them into its suite."""

TESTS = [OURS.get(test, test) for test in target_tests.tests] + BESIDE
TestStandard = get_target_test_class(
    SandboxedTarget,
    config={"rate_limit_requests": 0, "confirm_batches": "require"},
    include_target_tests=False,
    custom_suites=[SingerTestSuite(kind="target", tests=TESTS)],
)


def test_every_test_of_the_suite_is_there_or_replaced_by_name() -> None:
    names = {f"test_target_{test.name}" for test in target_tests.tests}
    assert names <= set(dir(TestStandard))
    assert set(OURS) <= set(target_tests.tests)
