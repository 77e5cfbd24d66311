"""The command `mainbrainer-sandbox`.

Exit codes: 0 is done; 2 is an error, said in one sentence on stderr. `diff` has a
third, like diff(1): 1 says that the files differ.
"""

from __future__ import annotations

import argparse
import csv
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainbrainer_sandbox.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_ERROR = 2
_GROUPS = {
    "limits": "documented limits",
    "unknown": "where the documentation is silent or contradicts itself",
    "planted": "planted trouble",
    "sandbox": "the sandbox itself",
}
_FAULTS = """
faults are written KIND[=VALUE][@WHEN][:ENDPOINT], and --fault may be given more than once:
  429 503 ... [=SECONDS]   answered so (SECONDS is Retry-After)
  latency=S or S-S         waits first
  reset                    connection reset, nothing processed
  lost                     processed, then the connection is reset
  hang[=S]                 no answer
  html, cut                processed, but the answer is a web page, or JSON that ends too early
  noid                     processed, but the answer holds no batch id
  fail, stuck, late=S      the batch fails, is never processed, or late
  skip[=N]                 the first N contacts of the batch are skipped
WHEN is request numbers (3,7-9), p0.05 (probability), every5, or nothing (always).
ENDPOINT is token, batch, insertupdate or status.
examples: --fault 503@3,7-9  --fault latency=0.1-0.5@p0.3:batch  --fault lost@p0.01

While it runs: PUT /_sandbox/faults {"faults": ["503@p0.1"], "seed": 0},
PATCH /_sandbox/switches {"clash": "conflict"}, POST /_sandbox/reset {}.
"""


class CommandError(Exception):
    """Ends the command with a sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    try:
        options = _parser().parse_args(arguments)
        run: Callable[[argparse.Namespace], int] = options.run
        return run(options)
    except CommandError as error:
        sys.stderr.write(f"mainbrainer-sandbox: {error}\n")
        return _ERROR
    except sqlite3.Error as error:
        sys.stderr.write(f"mainbrainer-sandbox: A sandbox file cannot be used: {error}.\n")
        return _ERROR
    except BrokenPipeError:
        # Whoever read our output has seen enough; `head` is no error.
        sys.stderr.close()
        return 0
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f"mainbrainer-sandbox: '{error.name}' is not installed. "
            "Install 'target-mainbrainer[sandbox]'.\n"
        )
        return _ERROR


def _parser() -> argparse.ArgumentParser:
    from mainbrainer_sandbox.engine import Credentials  # noqa: PLC0415 - heavy

    parser = argparse.ArgumentParser(
        prog="mainbrainer-sandbox",
        description="A MainBrainer on your own machine, to rehearse loads on.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve",
        help="answer the API on loopback, with a page at /",
        epilog=_FAULTS,
        formatter_class=_Help,
        description="Answer MainBrainer's API on this machine, until interrupted.",
    )
    serve.set_defaults(run=_serve)
    serve.add_argument("--path", type=Path, required=True, help="file everything is kept in")
    serve.add_argument("--port", type=int, default=8790, help="port; 0 takes a free one")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on")
    serve.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow a host that other machines can reach; they can then read everything in it",
    )
    known = Credentials()
    serve.add_argument("--token", help="access token to take; a random one if not given")
    serve.add_argument("--username", default=known.username, help="for POST /token")
    serve.add_argument("--password", default=known.password, help="for POST /token")
    serve.add_argument("--private-token", default=known.private_token, help="for POST /token")
    serve.add_argument(
        "--fault", action="append", default=[], metavar="FAULT", help="trouble to make; see below"
    )
    serve.add_argument("--seed", type=int, default=0, help="of faults by probability")
    _add_switches(serve)

    contacts = commands.add_parser("contacts", help="print the contacts in a sandbox file")
    contacts.set_defaults(run=_contacts)
    _add_look(contacts)

    batches = commands.add_parser("batches", help="print the batches, the refused ones too")
    batches.set_defaults(run=_batches)
    _add_look(batches)

    reset = commands.add_parser("reset", help="forget everything in a sandbox file")
    reset.set_defaults(run=_reset)
    reset.add_argument("--path", type=Path, required=True, help="sandbox file")
    reset.add_argument("--yes", action="store_true", help="do it without asking")

    diff = commands.add_parser(
        "diff",
        help="compare two sandbox files",
        description=(
            "Compare two sandbox files contact by contact, property by property. Contacts are "
            "matched by mobile and e-mail. Exits 0 if they are the same, 1 if not, 2 on an error."
        ),
    )
    diff.set_defaults(run=_diff)
    diff.add_argument("first", type=Path, metavar="A")
    diff.add_argument("second", type=Path, metavar="B")
    _add_format(diff)
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and leaves the epilog's lines as they are."""


def _add_switches(parser: argparse.ArgumentParser) -> None:
    from mainbrainer_sandbox.switches import DECLARED  # noqa: PLC0415

    groups = {key: parser.add_argument_group(title) for key, title in _GROUPS.items()}
    for declared in DECLARED.values():
        metavar = "|".join(str(choice) for choice in declared.choices) or declared.kind.__name__
        groups[declared.group].add_argument(
            f"--{declared.name.replace('_', '-')}",
            dest=f"switch_{declared.name}",
            default=declared.default,
            metavar=metavar.upper() if not declared.choices else f"{{{metavar}}}",
            help=declared.help.replace("%", "%%"),
        )


def _add_look(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", type=Path, required=True, help="sandbox file")
    _add_format(parser)


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=["table", "json", "csv"], default="table", help="of what is printed"
    )


def _serve(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox import start  # noqa: PLC0415
    from mainbrainer_sandbox.engine import Credentials  # noqa: PLC0415
    from mainbrainer_sandbox.faults import FaultError  # noqa: PLC0415
    from mainbrainer_sandbox.store import StoreError  # noqa: PLC0415
    from mainbrainer_sandbox.switches import DECLARED, SwitchError  # noqa: PLC0415

    if not is_loopback(options.host) and not options.allow_remote:
        message = (
            f"'{options.host}' can be reached from other machines, and whoever reaches it reads "
            "every contact in it. Use 127.0.0.1, or say --allow-remote."
        )
        raise CommandError(message)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    switches = {name: getattr(options, f"switch_{name}") for name in DECLARED}
    credentials = Credentials(options.username, options.password, options.private_token)
    try:
        sandbox = start(
            options.path,
            host=options.host,
            port=options.port,
            token=options.token,
            credentials=credentials,
            faults=options.fault,
            seed=options.seed,
            **switches,
        )
    except (SwitchError, FaultError, StoreError, OSError) as error:
        raise CommandError(str(error)) from error
    with sandbox:
        _say(f"MainBrainer sandbox on {sandbox.url}, kept in {options.path}")
        _say(f"Page:         {sandbox.url}/")
        _say(f"Access token: {sandbox.token}")
        _say(
            f"Or get one:   POST {sandbox.url}/token with userName '{credentials.username}', "
            f"password '{credentials.password}', privateToken '{credentials.private_token}'"
        )
        _say("Stop it with Ctrl-C; what it has accepted is processed first.")
        stop.wait()
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _contacts(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox.store import StoreError  # noqa: PLC0415
    from mainbrainer_sandbox.views import View  # noqa: PLC0415

    try:
        with View(options.path) as view:
            # Those of the contacts, because the account's own are known without being sent.
            names = dict.fromkeys(name for one in view.contacts() for name in one["properties"])
            _print(view.contacts(), options.format, lambda one: _flat(one, names))
    except StoreError as error:
        raise CommandError(str(error)) from error
    return 0


def _batches(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox.store import StoreError  # noqa: PLC0415
    from mainbrainer_sandbox.views import View  # noqa: PLC0415

    def flat(batch: dict[str, Any]) -> dict[str, Any]:
        shown = ("number", "id", "kind", "state", "status", "sent", "inserted", "updated")
        row = {name: batch[name] for name in (*shown, "skipped")}
        problems = batch["details"].get("problems", [])
        why = batch["failed_reason"] or " ".join(batch["details"].get("skip_reasons", {}))
        return row | {"why": problems[0]["text"] if problems else why}

    try:
        with View(options.path) as view:
            _print(view.batches(), options.format, flat)
    except StoreError as error:
        raise CommandError(str(error)) from error
    return 0


def _reset(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox.store import Store, StoreError  # noqa: PLC0415
    from mainbrainer_sandbox.switches import Switches  # noqa: PLC0415

    if not options.path.is_file():
        message = f"There is no sandbox file at {options.path}."
        raise CommandError(message)
    if not options.yes:
        if not sys.stdin.isatty():
            message = "Say --yes to forget everything in the file."
            raise CommandError(message)
        sys.stderr.write(f"Forget everything in {options.path}? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            message = "Nothing was changed."
            raise CommandError(message)
    try:
        store = Store(options.path, Switches())
    except StoreError as error:
        raise CommandError(str(error)) from error
    store.reset()
    store.close()
    return 0


def _diff(options: argparse.Namespace) -> int:
    import msgspec  # noqa: PLC0415

    from mainbrainer_sandbox.compare import compare  # noqa: PLC0415
    from mainbrainer_sandbox.store import StoreError  # noqa: PLC0415
    from mainbrainer_sandbox.views import View  # noqa: PLC0415

    counted = {"added": 0, "removed": 0, "changed": 0}

    def differences(first: View, second: View) -> Iterator[dict[str, Any]]:
        for one in compare(first, second):
            counted[one.change] += 1
            if options.format == "json":
                yield msgspec.to_builtins(one)
                continue
            for field, before, after in one.fields:
                yield {
                    "change": one.change,
                    "mobile": one.mobile,
                    "email": one.email,
                    "field": field,
                    "before": before,
                    "after": after,
                }

    try:
        with View(options.first) as first, View(options.second) as second:
            _print(differences(first, second), options.format, lambda row: row)
    except StoreError as error:
        raise CommandError(str(error)) from error
    if options.format == "table":
        _say(", ".join(f"{number:,} {change}" for change, number in counted.items()))
    return 1 if any(counted.values()) else 0


def _flat(contact: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a contact as one row: its properties are columns, a value it lacks is empty."""
    from mainbrainer_sandbox.rules import mobile_text  # noqa: PLC0415

    row = {
        "id": contact["id"],
        "mobile": mobile_text(contact["mobile_country_code"], contact["mobile_number"]),
        "email": contact["email"],
        "mobile_opt_in": _consent(contact["mobile_opt_in"]),
        "email_opt_in": _consent(contact["email_opt_in"]),
        "lists": " ".join(contact["lists"]),
    }
    return row | {name: contact["properties"].get(name) for name in names}


def _consent(value: bool | None) -> str:  # noqa: FBT001
    return "no consent" if value is None else str(value).lower()


def _print(
    rows: Iterable[dict[str, Any]], form: str, flat: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """Print rows one after the other, without holding them all."""
    if form == "json":
        _print_json(rows)
    elif form == "csv":
        _print_csv(flat(row) for row in rows)
    else:
        _print_table(flat(row) for row in rows)


def _print_json(rows: Iterable[dict[str, Any]]) -> None:
    import msgspec  # noqa: PLC0415

    separator = "["
    for row in rows:
        sys.stdout.write(f"{separator}\n{msgspec.json.encode(row).decode()}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _print_csv(rows: Iterable[dict[str, Any]]) -> None:
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    """Print a table as wide as its first rows need; what comes later is not cut, only pushed."""
    head: list[dict[str, Any]] = []
    widths: dict[str, int] = {}

    def line(row: dict[str, Any]) -> None:
        cells = [_cell(row[name]).ljust(width) for name, width in widths.items()]
        sys.stdout.write("  ".join(cells).rstrip() + "\n")

    def start() -> None:
        shown = [name for name in head[0] if any(row[name] not in (None, "") for row in head)]
        for name in shown or list(head[0]):
            widths[name] = max(len(name), *(len(_cell(row[name])) for row in head))
        line({name: name for name in widths})
        line({name: "-" * width for name, width in widths.items()})
        for row in head:
            line(row)

    for row in rows:
        if widths:
            line(row)
        else:
            head.append(row)
            if len(head) == 1000:  # noqa: PLR2004 - enough to judge the widths by
                start()
    if head and not widths:
        start()


def _cell(value: object) -> str:
    """Return a value on one line, without anything that could move a terminal's cursor."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
