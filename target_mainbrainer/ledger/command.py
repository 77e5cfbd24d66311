"""`mainbrainer-ledger`: shows what a ledger holds, and makes it forget."""

from __future__ import annotations

import datetime as dt
import typing as t

import click
import msgspec
from typing_extensions import override

from target_mainbrainer.errors import TargetMainBrainerError
from target_mainbrainer.ledger import inspecting
from target_mainbrainer.ledger.comparison import key_text
from target_mainbrainer.ledger.database import open_database

if t.TYPE_CHECKING:
    from target_mainbrainer.ledger.database import Database

_URI_VARIABLE = "TARGET_MAINBRAINER_LEDGER_URI"


class _Sentences(click.Group):
    """Ends with a sentence instead of a traceback."""

    @override
    def invoke(self, ctx: click.Context) -> t.Any:
        try:
            return super().invoke(ctx)
        except TargetMainBrainerError as error:
            raise click.ClickException(str(error)) from None


def _parse_key(_context: object, _parameter: object, value: str | None) -> str | None:
    """Return a source key as the ledger holds it."""
    if value is None:
        return None
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.DecodeError:
        message = "it is no JSON; write a number as 7, a text as '\"seven\"', several as '[7, 1]'"
        raise click.BadParameter(message) from None
    if isinstance(decoded, dict):
        decoded = list(decoded.values())
    values = decoded if isinstance(decoded, list) else [decoded]
    return key_text(msgspec.json.encode(values).decode())


_stream = click.option("--stream", metavar="NAME", help="Only this stream.")
_key = click.option(
    "--key",
    metavar="JSON",
    callback=_parse_key,
    help="Only this source key: the value of the stream's key property, or a list of several.",
)


@click.group(cls=_Sentences)
@click.option(
    "--ledger-uri",
    envvar=_URI_VARIABLE,
    required=True,
    show_envvar=True,
    help="The target's setting of this name: a path, or a URI of SQLite or PostgreSQL.",
)
@click.pass_context
def main(context: click.Context, ledger_uri: str) -> None:
    """Look into the ledger of target-mainbrainer, or make it forget."""
    database = open_database(ledger_uri, must_exist=True)
    context.obj = database
    context.call_on_close(database.close)


@main.command()
@_stream
@_key
@click.pass_obj
def show(database: Database, stream: str | None, key: str | None) -> None:
    """Show how much is held of each stream, or what is held of a source key."""
    if key is None:
        _show_streams(database, stream)
        return
    found = inspecting.find(database, key, stream)
    for entry in found:
        for name, value in entry.items():
            shown = _time(value) if name == "delivered_at" else value
            click.echo(f"{name:16} {'-' if shown is None else shown}")
        click.echo()
    if not found:
        click.echo(f"The ledger {database.name} does not hold the source key {key}.")


@main.command()
@_stream
@_key
@click.option("--yes", is_flag=True, help="Do not ask before everything is forgotten.")
@click.pass_obj
def forget(database: Database, stream: str | None, key: str | None, *, yes: bool) -> None:
    """Forget a source key, a stream, or everything, and overwrite what is left in the file."""
    if stream is None and key is None and not yes:
        question = f"Forget everything in {database.name}? The next run sends every contact."
        click.confirm(question, abort=True)
    forgotten = inspecting.forget(database, stream=stream, key=key)
    inspecting.erase_traces(database)
    keys = "1 source key" if forgotten == 1 else f"{forgotten:,} source keys"
    where = f" of stream '{stream}'" if stream is not None else ""
    click.echo(
        f"The ledger {database.name} has forgotten {keys}{where}. Backups of it and the contacts "
        "in MainBrainer are as they were; what the source still has is sent and remembered again."
    )


def _show_streams(database: Database, stream: str | None) -> None:
    found = inspecting.summarise(database, stream)
    if not found:
        what = "anything" if stream is None else f"a stream '{stream}'"
        click.echo(f"The ledger {database.name} does not hold {what}.")
        return
    click.echo(f"{'stream':30} {'keys':>12} {'sent anyway':>12} {'open batches':>13}  delivered")
    for one in found:
        click.echo(
            f"{one.name:30} {one.known:12,} {one.unknown:12,} {one.open_batches:13,}  "
            f"{_time(one.delivered_at) or '-'}"
        )


def _time(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return f"{dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M:%S} UTC"
