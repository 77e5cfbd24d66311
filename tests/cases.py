"""A table of cases, each of which is a test of its own."""

import typing as t

import pytest


def cases(names: str, *values: t.Any, ids: t.Any = None) -> pytest.MarkDecorator:
    """Run a test once for each of these values, or tuples of values, of the named arguments."""
    return pytest.mark.parametrize(names.replace(" ", ","), values, ids=ids)
