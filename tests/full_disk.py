"""A disk without room for rejected records."""

import errno
import os

import pytest


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing more be written to the rejects file; what else is written in Python still is."""
    write = os.write

    def fail(descriptor: int, data: bytes | memoryview) -> int:
        if isinstance(data, memoryview):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", fail)
