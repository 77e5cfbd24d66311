"""The command `mainbrainer-sandbox`.

Exit codes: 0 is done; 2 is an error, told in one sentence on stderr. `diff` has a
third, like diff(1): 1 says that the files differ.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainbrainer_sandbox import faults
from mainbrainer_sandbox.loopback import is_loopback
from mainbrainer_sandbox.printing import print_rows
from mainbrainer_sandbox.switches import DECLARED, GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

TOKEN_VARIABLE = "MAINBRAINER_SANDBOX_TOKEN"  # noqa: S105 - its name
_ERROR = 2
_SHOWN_DIFFERENCES = 20


class CommandError(Exception):
    """Ends the command with a sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        from mainbrainer_sandbox.store import StoreError  # noqa: PLC0415 - the extra may be missing

        try:
            run: Callable[[argparse.Namespace], int] = options.run
            return run(options)
        except StoreError as error:
            raise CommandError(str(error)) from error
        except sqlite3.Error as error:
            message = f"A sandbox file cannot be used: {error}."
            raise CommandError(message) from error
    except ModuleNotFoundError as error:
        reason = f"'{error.name}' is not installed. Install 'target-mainbrainer[sandbox]'."
    except CommandError as error:
        reason = str(error)
    except BrokenPipeError:
        # The reader has seen enough; `head` is no error.
        sys.stderr.close()
        return 0
    if getattr(options, "until_eof", False):
        # The parent waits for one line: the address, or the reason why there is none.
        _say(reason)
    else:
        sys.stderr.write(f"mainbrainer-sandbox: {reason}\n")
    return _ERROR


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mainbrainer-sandbox",
        description="A MainBrainer on your own machine, to rehearse loads on.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_serve(commands)

    page = commands.add_parser(
        "page",
        help="show a sandbox file in a browser",
        description="Show a sandbox file in a browser, also while a target is loading into it.",
    )
    page.set_defaults(run=_page)
    _add_path(page)
    _add_address(page)

    contacts = commands.add_parser("contacts", help="print the contacts in a sandbox file")
    contacts.set_defaults(run=_contacts)
    _add_path(contacts)
    _add_format(contacts)

    batches = commands.add_parser("batches", help="print the batches, the refused ones too")
    batches.set_defaults(run=_batches)
    _add_path(batches)
    _add_format(batches)

    reset = commands.add_parser("reset", help="forget everything in a sandbox file")
    reset.set_defaults(run=_reset)
    _add_path(reset)
    reset.add_argument("--yes", action="store_true", help="do it without asking")

    diff = commands.add_parser(
        "diff",
        help="compare two sandbox files",
        description=(
            "Compare two sandbox files: a summary by field, then contact by contact. Contacts are "
            "matched by mobile and e-mail. Exits 0 if they are the same, 1 if not, 2 on an error."
        ),
    )
    diff.set_defaults(run=_diff)
    diff.add_argument("first", type=Path, metavar="A")
    diff.add_argument("second", type=Path, metavar="B")
    diff.add_argument(
        "--all", action="store_true", help=f"all contacts, not the first {_SHOWN_DIFFERENCES}"
    )
    _add_format(diff)
    return parser


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and leaves the epilog's lines as they are."""


def _add_serve(commands: Any) -> None:  # noqa: ANN401 - argparse's type is private
    serve = commands.add_parser(
        "serve",
        help="answer the API on loopback, with a page at /",
        epilog=faults.HELP,
        formatter_class=_Help,
        description="Answer MainBrainer's API on this machine, until interrupted.",
    )
    serve.set_defaults(run=_serve)
    _add_path(serve)
    _add_address(serve)
    serve.add_argument(
        "--token",
        help=f"access token to take, instead of {TOKEN_VARIABLE} or else a random one",
    )
    serve.add_argument(
        "--until-eof",
        action="store_true",
        help="run until standard input ends, for a program that starts it; print the address alone",
    )
    serve.add_argument(
        "--fault", action="append", default=[], metavar="FAULT", help="trouble to make; see below"
    )
    serve.add_argument("--seed", type=int, default=0, help="of faults by probability")
    groups = {key: serve.add_argument_group(title) for key, title in GROUPS.items()}
    for declared in DECLARED.values():
        choices = "|".join(str(choice) for choice in declared.choices)
        groups[declared.group].add_argument(
            f"--{declared.name.replace('_', '-')}",
            default=declared.default,
            metavar=f"{{{choices}}}" if choices else declared.kind.__name__.upper(),
            help=declared.help.replace("%", "%%"),
        )


def _add_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--path", type=Path, required=True, help="sandbox file")


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8790, help="port; 0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow a host that other machines can reach; they can then read everything in it",
    )


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=["table", "json", "csv"], default="table", help="of what is printed"
    )


def _check_host(options: argparse.Namespace) -> None:
    if not is_loopback(options.host) and not options.allow_remote:
        message = (
            f"'{options.host}' can be reached from other machines, and they could read every "
            "contact in it. Use 127.0.0.1, or say --allow-remote."
        )
        raise CommandError(message)


def _cannot_listen(options: argparse.Namespace, error: OSError) -> CommandError:
    reason = error.strerror or str(error)
    return CommandError(
        f"It cannot listen on {options.host}, port {options.port}: {reason}. If it runs there "
        "already, use that one; or take another --port."
    )


def _serve(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox import start  # noqa: PLC0415
    from mainbrainer_sandbox.switches import SwitchError  # noqa: PLC0415

    _check_host(options)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # With --until-eof it stays as long as its parent, which may have been signalled too and
        # still has something to send.
        signal.signal(number, signal.SIG_IGN if options.until_eof else lambda *_: stop.set())
    switches = {name: getattr(options, name) for name in DECLARED}
    try:
        sandbox = start(
            options.path,
            host=options.host,
            port=options.port,
            token=options.token or os.environ.get(TOKEN_VARIABLE),
            faults=options.fault,
            seed=options.seed,
            **switches,
        )
    except (SwitchError, faults.FaultError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise _cannot_listen(options, error) from error
    with sandbox:
        if options.until_eof:
            _say(sandbox.url)
            sys.stdin.read()
            return 0
        known = sandbox.credentials
        _say(f"MainBrainer sandbox on {sandbox.url}, kept in {options.path}")
        _say(f"Page:         {sandbox.url}/")
        _say(f"Access token: {sandbox.token}")
        _say(
            f"Or get one:   POST {sandbox.url}/token with userName '{known.username}', "
            f"password '{known.password}', privateToken '{known.private_token}'"
        )
        _say("Stop it with Ctrl-C; what it has accepted is processed first.")
        stop.wait()
    return 0


def _page(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox.pages import pages_app  # noqa: PLC0415
    from mainbrainer_sandbox.serving import listen, own_hosts, server  # noqa: PLC0415
    from mainbrainer_sandbox.views import View  # noqa: PLC0415

    _check_host(options)
    with View(options.path):
        """Only to say at once what is wrong with the file."""
    try:
        listening, url = listen(options.host, options.port)
    except OSError as error:
        raise _cannot_listen(options, error) from error
    _say(f"The sandbox file {options.path} is shown at {url}/; stop it with Ctrl-C.")
    try:
        app = pages_app(options.path, own_hosts(options.host))
        asyncio.run(server(app).serve(sockets=[listening]))
    except KeyboardInterrupt:
        pass
    return 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _contacts(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox.views import View  # noqa: PLC0415

    with View(options.path) as view:
        # Those of the contacts, because the account's own are known without being sent.
        names = dict.fromkeys(name for one in view.contacts() for name in one["properties"])
        print_rows(view.contacts(), options.format, lambda one: _flat_contact(one, names))
    return 0


def _flat_contact(contact: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a contact as one row: its properties are columns, a value it lacks is empty."""
    from mainbrainer_sandbox.rules import mobile_text  # noqa: PLC0415

    def consent(value: bool | None) -> str:  # noqa: FBT001
        return "no consent" if value is None else str(value).lower()

    row = {
        "id": contact["id"],
        "mobile": mobile_text(contact["mobile_country_code"], contact["mobile_number"]),
        "email": contact["email"],
        "mobile_opt_in": consent(contact["mobile_opt_in"]),
        "email_opt_in": consent(contact["email_opt_in"]),
        "lists": " ".join(contact["lists"]),
    }
    return row | {name: contact["properties"].get(name) for name in names}


def _batches(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox.views import View  # noqa: PLC0415

    def flat(batch: dict[str, Any]) -> dict[str, Any]:
        shown = ("number", "id", "kind", "state", "status", "sent", "inserted", "updated")
        row = {name: batch[name] for name in (*shown, "skipped")}
        problems = batch["details"].get("problems", [])
        why = batch["failed_reason"] or " ".join(batch["details"].get("skip_reasons", {}))
        return row | {"why": problems[0]["text"] if problems else why}

    with View(options.path) as view:
        print_rows(view.batches(), options.format, flat)
    return 0


def _reset(options: argparse.Namespace) -> int:
    from mainbrainer_sandbox.store import Store  # noqa: PLC0415

    if not options.path.exists():
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
    store = Store(options.path)
    store.reset()
    store.close()
    return 0


def _diff(options: argparse.Namespace) -> int:
    import msgspec  # noqa: PLC0415

    from mainbrainer_sandbox.compare import Difference, Summary, compare  # noqa: PLC0415
    from mainbrainer_sandbox.views import View  # noqa: PLC0415

    def rows(differences: Iterable[Difference]) -> Iterator[dict[str, Any]]:
        for one in differences:
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

    with View(options.first) as first, View(options.second) as second:
        summary = Summary()
        shown: list[Difference] = []
        for one in compare(first, second):
            summary.add(one)
            if len(shown) < _SHOWN_DIFFERENCES:
                shown.append(one)
        total = sum(summary.counts.values())
        if options.format == "table":
            _say("\n".join(summary.lines()) + ("\n" if total else ""))
        is_cut = options.format == "table" and not options.all and total > len(shown)
        print_rows(
            rows(shown if is_cut else compare(first, second)), options.format, lambda row: row
        )
        if is_cut:
            _say(f"... and {total - len(shown):,} more contacts; --all shows them.")
    return 1 if total else 0
