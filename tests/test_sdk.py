"""What the target relies on in the SDK without the SDK promising it.

That messages, STATE and records pass through the SDK as the target needs it is shown by whole runs.
When one of these fails after an upgrade, read what is said about it in the docstring of
`target_mainbrainer.target`, look at what the SDK does now, and decide anew.
"""

import inspect
import json
from importlib.metadata import requires, version

from packaging.requirements import Requirement
from singer_sdk import Target

from target_mainbrainer import target as target_module
from target_mainbrainer.singer.reader import MessageReader
from target_mainbrainer.sinks import ContactsSink
from target_mainbrainer.target import TargetMainBrainer
from tests.cases import cases
from tests.messages import state


def test_the_sdk_is_one_that_the_package_asks_for() -> None:
    asked = [Requirement(text) for text in requires("target-mainbrainer") or []]
    (sdk,) = [r for r in asked if r.name == "singer-sdk" and "msgspec" in r.extras]
    assert sdk.specifier.contains(version("singer-sdk"))
    assert not sdk.specifier.contains("1.0"), "an SDK that was never tried"


@cases("ours", TargetMainBrainer, ContactsSink, MessageReader)
def test_every_method_that_is_overridden_is_still_one_of_the_sdks(ours: type) -> None:
    overriding = {name: what for name, what in vars(ours).items() if hasattr(what, "__override__")}
    assert overriding
    for name, what in overriding.items():
        theirs = getattr(super(ours, ours), name)
        assert list(inspect.signature(what).parameters) == [*inspect.signature(theirs).parameters]


def test_every_method_that_is_overridden_is_explained() -> None:
    """The docstring of `target.py` names each."""
    ours = {name for name, what in vars(TargetMainBrainer).items() if inspect.isfunction(what)}
    overridden = {name for name in ours if not name.startswith("__") and hasattr(Target, name)}
    assert overridden
    assert [name for name in overridden if f"`{name}`" not in str(target_module.__doc__)] == []


def test_the_sdk_never_has_a_state_of_ours_to_write() -> None:
    """It would write it when it drains everything; `Delivery` writes it instead."""
    target = TargetMainBrainer(config={"api_url": "http://127.0.0.1:1", "access_token": "made-up"})
    target._process_state_message(json.loads(state(bookmark=1)))
    assert target._latest_state is None
    target.current_run.abort(RuntimeError("the test is over"))
