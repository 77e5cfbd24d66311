"""A MainBrainer on your own machine, to rehearse loads on and to test against.

`mainbrainer-sandbox serve` runs it as a process of its own, `start` in a thread for
tests. It can be imported without the extra `sandbox`; only starting it needs that.
Nothing in here knows of the target, so that it can judge the target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from mainbrainer_sandbox.running import RunningSandbox

__all__ = ["start"]


def start(path: Path | str, **options: Any) -> RunningSandbox:  # noqa: ANN401 - see below
    """Start a sandbox in a thread of this process, on a free port of 127.0.0.1.

    Args:
        path: The file to keep everything in; made if it does not exist.
        **options: Switches by the names in `switches.Switches` (`plan="pro"`,
            `clash="conflict"`, ...), and:
            `faults`, a list of faults as `faults.HELP` describes them, and their `seed`;
            `token`, a bearer token of your choice instead of a random one;
            `keep_bodies=True`, to find in `requests()` what was sent;
            `port`, a port of your choice;
            `now`, the clock, for tests.

    Returns:
        The running sandbox; close it, or use it in a `with` statement. Once it is
        closed, everything it accepted is processed and in the file.

    Raises:
        ModuleNotFoundError: The extra `sandbox` is not installed.
        SwitchError, FaultError: An option is wrong.
        StoreError: The file is not a sandbox's, or in use.
    """
    from mainbrainer_sandbox import running  # noqa: PLC0415 - heavy

    return running.start(path, **options)
