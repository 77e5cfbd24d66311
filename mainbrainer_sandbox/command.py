"""The command `mainbrainer-sandbox`.

Exit codes: 0 if all went well; 2 after an error, with one sentence on stderr. `diff`
ends with 1 if the files differ, as diff(1) does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import itertools
import os
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from mainbrainer_sandbox import faults, start
from mainbrainer_sandbox.compare import Difference, compare, summary
from mainbrainer_sandbox.file import StoreError
from mainbrainer_sandbox.store import Store
from mainbrainer_sandbox.switches import DECLARED, GROUPS, SwitchError
from mainbrainer_sandbox.views import View, consent_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

PATH_VARIABLE = "TARGET_MAINBRAINER_SANDBOX_PATH"
TOKEN_VARIABLE = "MAINBRAINER_SANDBOX_TOKEN"  # noqa: S105 - its name
_ERROR = 2
_SHOWN_DIFFERENCES = 20
_ROWS_TO_JUDGE_WIDTHS_BY = 1000


class CommandError(Exception):
    """Ends the command with a sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except ModuleNotFoundError as error:
        reason = f"'{error.name}' is not installed. Install 'target-mainbrainer[sandbox]'."
    except (CommandError, SwitchError, StoreError, faults.FaultError) as error:
        reason = str(error)
    except sqlite3.Error as error:
        reason = f"A sandbox file cannot be used: {error}."
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


class _Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and leaves the epilog's lines as they are."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mainbrainer-sandbox",
        description="A MainBrainer on your own machine, to rehearse loads on.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    path, address, form = (argparse.ArgumentParser(add_help=False) for _ in range(3))
    own = os.environ.get(PATH_VARIABLE) or None
    text = f"sandbox file; if left out, the one in {PATH_VARIABLE}"
    path.add_argument("--path", type=Path, default=own, required=own is None, help=text)
    address.add_argument("--port", type=port, default=8790, help="port; 0 is any free one")
    form.add_argument(
        "--format", choices=["table", "json"], default="table", help="of what is printed"
    )

    def add(
        run: Callable[[argparse.Namespace], int],
        text: str,
        *parents: argparse.ArgumentParser,
        epilog: str = "",
    ) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = commands.add_parser(
            run.__name__.removeprefix("_"),
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            parents=parents,
            epilog=epilog,
            formatter_class=_Help,
        )
        added.set_defaults(run=run)
        return added

    text = "answer the API on this machine, with a page at /, until interrupted"
    _add_serve_options(add(_serve, text, path, address, epilog=faults.HELP))
    add(_page, "show a sandbox file in a browser, also during a load", path, address)
    add(_contacts, "print the contacts in a sandbox file", path, form)
    add(_batches, "print the batches, the refused ones too", path, form)
    edit = add(_edit, "edit a contact by hand, as people can in MainBrainer", path)
    delete = add(_delete, "delete a contact by hand", path)
    for command in (edit, delete):
        text = "its id, e-mail address or mobile number"
        command.add_argument("contact", metavar="CONTACT", help=text)
    text = (
        "a property, email, mobile ('+44 7700900001'), email_opt_in or mobile_opt_in (true or "
        "false); nothing after the '=' empties it"
    )
    edit.add_argument("changes", nargs="+", metavar="FIELD=VALUE", help=text)
    text = "Contacts are matched by mobile and e-mail. Exits 0 if the files are the same, 1 if not."
    diff = add(_diff, "compare two sandbox files, by field and by contact", form, epilog=text)
    diff.add_argument("first", type=Path, metavar="A")
    diff.add_argument("second", type=Path, metavar="B")
    return parser


def _add_serve_options(serve: argparse.ArgumentParser) -> None:
    text = f"access token, instead of {TOKEN_VARIABLE} or else a random one"
    serve.add_argument("--token", help=text)
    text = "run until standard input ends, for a program that starts it; print the address alone"
    serve.add_argument("--until-eof", action="store_true", help=text)
    text = "what goes wrong; see below"
    serve.add_argument("--fault", action="append", default=[], metavar="FAULT", help=text)
    serve.add_argument("--seed", type=int, default=0, help="of faults by probability")
    groups = {key: serve.add_argument_group(title) for key, title in GROUPS.items()}
    for name, declared in DECLARED.items():
        choices = "|".join(declared.metadata["choices"])
        groups[declared.metadata["group"]].add_argument(
            f"--{name.replace('_', '-')}",
            default=declared.default,
            metavar=f"{{{choices}}}" if choices else type(declared.default).__name__.upper(),
            help=declared.metadata["help"],
        )


def port(text: str) -> int:
    """Return a number of a port; argparse names this function if it is none."""
    if (number := int(text)) not in range(1 << 16):
        raise ValueError
    return number


@contextlib.contextmanager
def _listening(options: argparse.Namespace) -> Iterator[None]:
    """Raise an error that says what to do if a port cannot be used."""
    try:
        yield
    except OSError as error:
        raise CommandError(
            f"It cannot listen on port {options.port}: {os.strerror(error.errno or 0)}. If it runs "
            "there already, use that one; or choose another --port."
        ) from error


def _serve(options: argparse.Namespace) -> int:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # With --until-eof it stays as long as its parent, which may have been signalled too and
        # still has something to send.
        signal.signal(number, signal.SIG_IGN if options.until_eof else lambda *_: stop.set())
    with _listening(options):
        sandbox = start(
            options.path,
            port=options.port,
            token=options.token or os.environ.get(TOKEN_VARIABLE),
            faults=options.fault,
            seed=options.seed,
            **{name: getattr(options, name) for name in DECLARED},
        )
    with sandbox:
        if options.until_eof:
            with View(options.path) as view:
                _say(f"{sandbox.url} {view.file_id()}")
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
    from mainbrainer_sandbox.pages import pages_app  # noqa: PLC0415 - the extra may be missing
    from mainbrainer_sandbox.serving import Server, listen  # noqa: PLC0415

    with View(options.path), _listening(options):
        listening, url = listen(options.port)
    _say(f"The sandbox file {options.path} is shown at {url}/; stop it with Ctrl-C.")
    with contextlib.suppress(KeyboardInterrupt):
        app = pages_app(options.path, functools.partial(_by_hand, options.path))
        asyncio.run(Server(app, asyncio.Event()).serve([listening]))
    return 0


def _contacts(options: argparse.Namespace) -> int:
    def flat(contact: dict[str, Any]) -> dict[str, Any]:
        fields = {
            "id": contact["id"],
            "mobile": contact["mobile"],
            "email": contact["email"],
            "mobile_opt_in": consent_text(contact["mobile_opt_in"]),
            "email_opt_in": consent_text(contact["email_opt_in"]),
            "lists": " ".join(contact["lists"]),
        }
        for name in names:
            # A property may have the name of a field, such as "id".
            shown = f"property {name}" if name in fields else name
            fields[shown] = contact["properties"].get(name)
        return fields

    with View(options.path) as view:
        # Those of the contacts, because the account's own are known without being sent.
        names = dict.fromkeys(name for one in view.contacts() for name in one["properties"])
        if options.format == "json":
            _print_json(view.contacts())
        else:
            _print_table(map(flat, view.contacts()))
    return 0


def _batches(options: argparse.Namespace) -> int:
    def flat(batch: dict[str, Any]) -> dict[str, Any]:
        shown = ("number", "id", "kind", "state", "status", "sent")
        return {name: batch[name] for name in (*shown, "inserted", "updated", "skipped", "why")}

    with View(options.path) as view:
        if options.format == "json":
            _print_json(view.batches())
        else:
            _print_table(map(flat, view.batches()))
    return 0


def _edit(options: argparse.Namespace) -> int:
    changes = dict(change.partition("=")[::2] for change in options.changes)
    _by_hand(options.path, options.contact, changes)
    return 0


def _delete(options: argparse.Namespace) -> int:
    _by_hand(options.path, options.contact, None)
    return 0


def _by_hand(path: Path, selector: int | str, changes: dict[str, Any] | None) -> int:
    with View(path), contextlib.closing(Store(path)) as store:
        return store.edit(selector, changes, time.time())


def _diff(options: argparse.Namespace) -> int:
    def flat(differences: Iterable[Difference]) -> Iterator[dict[str, Any]]:
        for one in differences:
            contact = {"change": one.change, "mobile": one.mobile, "email": one.email}
            for field, before, after in one.fields:
                yield {**contact, "field": field, "before": before, "after": after}

    with View(options.first) as first, View(options.second) as second:
        total, lines = summary(compare(first, second))
        if options.format == "json":
            _print_json(compare(first, second))
        else:
            _say("\n".join(lines))
            _print_table(flat(itertools.islice(compare(first, second), _SHOWN_DIFFERENCES)))
            if (more := total - _SHOWN_DIFFERENCES) > 0:
                _say(f"... and {more:,} more contacts; --format json shows them.")
    return 1 if total else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# Rows are printed one after the other, without collecting them ---------------------------------


def _print_json(rows: Iterable[object]) -> None:
    """Print rows as an array of JSON, a line for each."""
    separator = "["
    for row in rows:
        sys.stdout.write(f"{separator}\n{msgspec.json.encode(row).decode()}")
        separator = ","
    sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    """Print rows as a table as wide as its first rows need; later, wider cells are not cut."""
    rest = iter(rows)
    head = list(itertools.islice(rest, _ROWS_TO_JUDGE_WIDTHS_BY))
    if not head:
        return
    shown = [name for name in head[0] if any(row[name] not in (None, "") for row in head)]
    widths = {
        name: max(len(name), *(len(_cell(row[name])) for row in head)) for name in shown or head[0]
    }

    def line(cells: Iterable[str]) -> None:
        padded = (one.ljust(width) for one, width in zip(cells, widths.values(), strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")

    line(widths)
    line("-" * width for width in widths.values())
    for row in itertools.chain(head, rest):
        line(_cell(row[name]) for name in widths)


def _cell(value: object) -> str:
    """Return a value on one line, without anything that could move a terminal's cursor."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
