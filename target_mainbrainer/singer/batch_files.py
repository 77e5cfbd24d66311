"""BATCH messages: their files' lines, as the RECORD messages that they stand for."""

from __future__ import annotations

import codecs
import gzip
import json
import typing as t
from pathlib import Path
from urllib.parse import unquote

from singer_sdk.helpers._batch import BatchConfig, BatchFileFormat, StorageTarget

from target_mainbrainer.errors import InputError
from target_mainbrainer.singer.reader import MalformedMessageError, require
from target_mainbrainer.words import shown

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.singer.reader import Message

_COMPRESSIONS = ("none", "gzip", None)


def record_messages(message: Message, batch_config: dict[str, t.Any] | None) -> Iterator[bytes]:
    """Yield the records of a BATCH message's files as RECORD messages, one at a time.

    Only JSON lines, plain or with gzip, are read; the SDK's taps write them by default.

    Raises:
        MalformedMessageError: It names no files.
        InputError: A file cannot be read.
    """
    require(message, stream=str, encoding=dict, manifest=list)
    stream, encoding, manifest = message["stream"], message["encoding"], message["manifest"]
    if not all(isinstance(path, str) and path.strip() for path in manifest):
        problem = "is a BATCH message whose 'manifest' is not a list of files"
        raise MalformedMessageError(problem)
    compression = encoding.get("compression")
    if encoding.get("format") != BatchFileFormat.JSONL or compression not in _COMPRESSIONS:
        text = (
            f"A BATCH message of stream '{shown(stream)}' is encoded in a way that is not "
            "supported. Set the tap's 'batch_config' to 'jsonl' with 'gzip' or 'none'."
        )
        raise InputError(text)
    storage = BatchConfig.from_dict(batch_config).storage if batch_config else None
    start = b'{"type":"RECORD","stream":' + json.dumps(stream).encode() + b',"record":'
    for path in manifest:
        try:
            head, tail = StorageTarget.split_url(_plain_address(path))
            with (storage or StorageTarget.from_url(head)).open(tail, mode="rb") as file:
                lines = gzip.GzipFile(fileobj=file) if compression == "gzip" else file
                for number, line in enumerate(lines):
                    content = line.strip()
                    if number == 0:
                        content = content.removeprefix(codecs.BOM_UTF8)
                        _refuse_messages(stream, content)
                    if content:
                        yield start + content + b"}\n"
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - each kind of storage has errors of its own
            raise InputError(_unreadable(stream, error)) from None


def _plain_address(path: str) -> str:
    """Return the address of a local file as the SDK reads it: without a host and escapes."""
    if not path.startswith("file://"):
        return path
    plain = "file:///" + path.removeprefix("file://").removeprefix("localhost").lstrip("/")
    is_there = Path(plain.removeprefix("file://")).exists()
    return plain if is_there else unquote(plain)


def _refuse_messages(stream: str, line: bytes) -> None:
    """Refuse a file of Singer messages, which would all be read as one odd record each."""
    try:
        first = json.loads(line or b"{}")
    except ValueError:
        return
    if isinstance(first, dict) and {"type", "stream"} <= first.keys() and "record" in first:
        text = (
            f"A file of a BATCH message of stream '{shown(stream)}' contains RECORD messages. It "
            "should contain only records, one JSON object per line. Check the output of the tap."
        )
        raise InputError(text)


def _unreadable(stream: str, error: Exception) -> str:
    """Return why a file cannot be read. Its address may contain a password, so it stays out."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, ImportError):
        reason = (
            "a package for this kind of storage is not installed. Let the tap write its files to a "
            "local folder ('batch_config')"
        )
    return f"A file of a BATCH message of stream '{shown(stream)}' cannot be read: {reason}."
