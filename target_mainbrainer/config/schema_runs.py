"""The settings of delivery, rejects and reports."""

from __future__ import annotations

import typing as t

from singer_sdk import typing as th

from target_mainbrainer.config.kinds import Bounded, choice_of
from target_mainbrainer.config.limits import (
    ADVISED_BATCH_SIZE,
    MAX_BATCH_SIZE,
    MAX_CONCURRENT_REQUESTS,
    MAX_SECONDS,
    PLANS,
    ConfirmBatches,
    WriteMode,
)

RUN_SETTINGS: t.Final = (
    # Delivery
    th.Property(
        "write_mode",
        choice_of(WriteMode),
        default="batch",
        title="Write mode",
        description=(
            "`batch`, or `single`: each contact goes alone to `/contacts/insertupdate`; slow, but "
            "the answer is about that one contact. Choose `single` to find out what the API says "
            "about a few."
        ),
    ),
    th.Property(
        "batch_size_rows",
        Bounded(1, MAX_BATCH_SIZE),
        default=ADVISED_BATCH_SIZE,
        title="Batch size",
        description=(
            "Most contacts in one request, 1 to 1000. MainBrainer advises 100 or fewer and allows "
            "1000. Raise it when the day's number of requests is what limits you."
        ),
    ),
    th.Property(
        "max_concurrent_requests",
        Bounded(1, MAX_CONCURRENT_REQUESTS),
        title="Requests in flight",
        description=(
            "Most requests in flight at once, 1 to 256. Leave it out, and it follows the time "
            "that answers take: as many as it takes to use all the requests that the plan allows, "
            "within 20,000 contacts. Set it for a server that cannot answer so many at once."
        ),
    ),
    th.Property(
        "rate_limit_plan",
        th.StringType(allowed_values=list(PLANS)),
        default="freemium",
        title="Plan",
        description=(
            "Plan of the account, for its limits: `freemium` 100, `starter` 150, `pro` 200 "
            "requests in 10 seconds, and 250,000, 500,000, 1,000,000 a day. Set it to the plan "
            "you pay for."
        ),
    ),
    th.Property(
        "rate_limit_requests",
        Bounded(0),
        title="Requests in 10 seconds",
        description=(
            "Own number of requests in 10 seconds instead of the plan's; 0 switches pacing off. "
            "Set it when other programs use the same token."
        ),
    ),
    th.Property(
        "request_timeout_seconds",
        Bounded(1, MAX_SECONDS),
        default=60,
        title="Request timeout",
        description=(
            "Seconds to wait for an answer before a request counts as lost. Raise it when large "
            "batches time out."
        ),
    ),
    th.Property(
        "retry_max_seconds",
        Bounded(0, MAX_SECONDS),
        default=600,
        title="Retry limit",
        description=(
            "Seconds after which one request is given up, all its tries together. Lower it when a "
            "failure should be known sooner than after ten minutes."
        ),
    ),
    th.Property(
        "confirm_batches",
        choice_of(ConfirmBatches),
        default="report",
        title="Confirm batches",
        description=(
            "An accepted batch is only queued. `report`: what became of it is asked for and "
            "counted in the summary; `require`: STATE waits for it; `none`: it is not asked for. "
            "Choose `require` when a batch that fails afterwards must be sent again by itself."
        ),
    ),
    th.Property(
        "confirm_timeout_seconds",
        Bounded(0, MAX_SECONDS),
        default=120,
        title="Confirmation timeout",
        description=(
            "Seconds to wait at the end of the run for batches still being processed. Raise it "
            "when batches stay unconfirmed."
        ),
    ),
    th.Property(
        "webhook_url",
        th.StringType,
        title="Webhook URL",
        description=(
            "Passed on with every batch; MainBrainer reports there what became of it. Set it when "
            "a service of yours waits for that; the target does not need it."
        ),
    ),
    # Ours instead of the SDK's own, which would also promise `append-only` and `overwrite`.
    th.Property(
        "load_method",
        th.StringType(allowed_values=["upsert"]),
        default="upsert",
        title="Load method",
        description=("Contacts are always upserted; there is nothing to set."),
    ),
    # Rejects
    th.Property(
        "rejects_path",
        th.StringType,
        title="Rejects file",
        description=(
            "File that rejected records are appended to, as a Singer stream that can be corrected "
            "and loaded again; `{started_at}` in it becomes the start of the run, for a file per "
            "run. It holds personal data. Set it, or one bad record ends the run."
        ),
    ),
    th.Property(
        "max_rejects",
        Bounded(0),
        title="Most rejections",
        description=(
            "Above this number of rejected records the run fails. Default: 0, or no limit when "
            "`rejects_path` is set. Set it when more than a few mean that something is wrong."
        ),
    ),
    th.Property(
        "max_rejects_percent",
        Bounded(0, 100),
        default=50,
        title="Most rejections in percent",
        description=(
            "Above this share of a stream's records rejected before sending the run fails; counted "
            "from 20 records of the stream on. Raise it, up to 100, when most of a stream's "
            "records are known to be of no use."
        ),
    ),
    # Reports
    th.Property(
        "report_path",
        th.StringType,
        title="Report file",
        description=(
            "File that the run's summary is written to as JSON. Set it when a monitor reads the "
            "counts."
        ),
    ),
    th.Property(
        "dry_run",
        th.BooleanType,
        default=False,
        title="Dry run",
        description=(
            "Read, map and compare, and say what a run would do and cost; nothing is sent and "
            "nothing is written but the report. Set it, or use `--dry-run`, before a first load "
            "and after a change of the mapping."
        ),
    ),
)
