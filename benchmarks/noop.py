"""The SDK's own target and batch sink as they come, with a sink that does nothing."""

from __future__ import annotations

import typing as t

from singer_sdk import Target
from singer_sdk.sinks import BatchSink
from typing_extensions import override


class NoopSink(BatchSink):
    """Takes batches of 100 records, and does nothing with them."""

    max_size = 100

    @override
    def process_batch(self, context: dict[str, t.Any]) -> None:
        """Do nothing."""


class TargetNoop(Target):
    """Reads, validates, and drops."""

    name = "target-noop"
    config_jsonschema: t.ClassVar = {"properties": {}}
    default_sink_class = NoopSink


if __name__ == "__main__":
    TargetNoop.cli()
