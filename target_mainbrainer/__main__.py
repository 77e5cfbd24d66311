"""Starts the command `target-mainbrainer`, also as `python -m target_mainbrainer`."""

import gc

GARBAGE_THRESHOLD = 50_000
"""New objects that make Python look for circular garbage, of which a run leaves next to none.

Python's own 700 make it look through all the contacts that wait, again and again: a third of the
time of a run.
"""


def main() -> None:
    """Run the command."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    # Not before: imports leave no garbage either, and looking for it is a tenth of the start.
    from target_mainbrainer import cli  # noqa: PLC0415

    gc.freeze()  # What is imported stays; looking through it again at exit is a fifth of the start.
    cli.main()


if __name__ == "__main__":
    main()
