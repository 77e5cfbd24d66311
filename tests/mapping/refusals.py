"""What a value is refused with."""

from __future__ import annotations

import typing as t

import pytest

from target_mainbrainer.mapping.values import InvalidValueError


def code_of(parse: t.Callable[..., object], *args: object) -> str:
    """Return the code with which a value is refused, and hold the sentence to its promise."""
    with pytest.raises(InvalidValueError) as caught:
        parse(*args)
    for value in args:
        if isinstance(value, str) and len(value) > 3:
            assert value not in caught.value.what
    return caught.value.code
