"""BATCH messages: their files' lines, as the RECORD messages that they stand for."""

from __future__ import annotations

import gzip
import json
import typing as t

from singer_sdk.helpers._batch import BatchConfig, BatchFileFormat, StorageTarget

from target_mainbrainer.errors import InputError
from target_mainbrainer.words import shown

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.singer.reader import BatchMessage


_COMPRESSIONS = ("none", "gzip", None)


def record_messages(
    message: BatchMessage, batch_config: dict[str, t.Any] | None
) -> Iterator[bytes]:
    """Yield the records of a BATCH message's files as RECORD messages, one at a time.

    Only JSON lines, plain or with gzip, are read; they are what the SDK's taps write by default.

    Raises:
        InputError: A file cannot be read.
    """
    if message.format != BatchFileFormat.JSONL.value or message.compression not in _COMPRESSIONS:
        text = (
            f"A BATCH message of stream '{shown(message.stream)}' is encoded in a way that is not "
            "supported. Set the tap's 'batch_config' to 'jsonl' with 'gzip' or 'none'."
        )
        raise InputError(text)
    storage = BatchConfig.from_dict(batch_config).storage if batch_config else None
    start = b'{"type":"RECORD","stream":' + json.dumps(message.stream).encode() + b',"record":'
    for path in message.manifest:
        try:
            head, tail = StorageTarget.split_url(path)
            with (storage or StorageTarget.from_url(head)).open(tail, mode="rb") as file:
                for line in gzip.GzipFile(fileobj=file) if message.compression == "gzip" else file:
                    if not line.isspace():
                        yield start + line.rstrip() + b"}\n"
        except Exception as error:  # noqa: BLE001 - each kind of storage has errors of its own
            raise InputError(_unreadable(message.stream, path, error)) from None


def _unreadable(stream: str, path: str, error: Exception) -> str:
    """Say why a file cannot be read. Its address may hold a password, so only its kind is told."""
    kind, separator, _ = path.partition("://")
    is_remote = bool(separator) and kind.isalnum() and kind != "file"
    where = f" (kept at '{kind}://')" if is_remote else ""
    reason = getattr(error, "strerror", None) or type(error).__name__
    hint = ""
    if isinstance(error, ImportError):
        reason = "a package for this kind of storage is not installed"
        hint = " Let the tap write its files to a local folder ('batch_config')."
    of = f"of a BATCH message of stream '{shown(stream)}'"
    return f"A file{where} {of} cannot be read: {reason}.{hint}"
