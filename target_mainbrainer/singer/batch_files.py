"""BATCH messages: their files' lines, as the RECORD messages that they stand for."""

from __future__ import annotations

import gzip
import typing as t

import msgspec
from singer_sdk.helpers._batch import BatchConfig, BatchFileFormat, StorageTarget

from target_mainbrainer.errors import InputError

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.singer.messages import Message


def record_messages(message: Message, batch_config: dict[str, t.Any] | None) -> Iterator[bytes]:
    """Yield the records of a BATCH message's files as RECORD messages, one at a time.

    Only JSON lines, plain or with gzip, are read; they are what the SDK's taps write by default.

    Raises:
        InputError: A file cannot be read.
    """
    stream = msgspec.json.encode(message["stream"])
    start = b'{"type":"RECORD","stream":' + stream + b',"record":'
    encoding = message["encoding"]
    if encoding.get("format") != BatchFileFormat.JSONL.value or encoding.get(
        "compression", "none"
    ) not in {"none", "gzip", None}:
        msg = (
            f"A BATCH message of stream '{message['stream']}' is encoded in a way that is not "
            "supported. Set the tap's 'batch_config' to 'jsonl' with 'gzip' or 'none'."
        )
        raise InputError(msg)
    storage = BatchConfig.from_dict(batch_config).storage if batch_config else None
    for path in message["manifest"]:
        try:
            head, tail = StorageTarget.split_url(path)
            with (storage or StorageTarget.from_url(head)).open(tail, mode="rb") as file:
                is_packed = encoding.get("compression") == "gzip"
                for line in gzip.GzipFile(fileobj=file) if is_packed else file:
                    if not line.isspace():
                        yield start + line.rstrip() + b"}\n"
        except (OSError, EOFError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            msg = (
                f"A file of a BATCH message of stream '{message['stream']}' cannot be read "
                f"({reason})."
            )
            raise InputError(msg) from None
