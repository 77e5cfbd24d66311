"""What the API's answers mean for records: each ends as accepted, merged or rejected, once."""

from __future__ import annotations

import threading
import typing as t

from target_mainbrainer.contacts.rejection import Rejection

if t.TYPE_CHECKING:
    from target_mainbrainer.api.responses import Accepted
    from target_mainbrainer.delivery.batch import Batch
    from target_mainbrainer.delivery.bisect import Send
    from target_mainbrainer.delivery.circuit_breaker import Held
    from target_mainbrainer.delivery.pending_contact import PendingContact
    from target_mainbrainer.delivery.state_tracker import StateTracker
    from target_mainbrainer.delivery.status_polling import StatusPoller
    from target_mainbrainer.reporting.rejections import Rejections

UNKNOWN_CONTACT_ID = Rejection(
    "unknown_contact_id",
    "MainBrainer took the batch but named this contact's id as invalid, so it was not updated.",
)


class Outcomes:
    """Counts what was delivered, sets aside what was refused, and tells STATE what is settled.

    Args:
        state_tracker: Says which STATE may be written.
        rejects: Takes rejected records.
        status_poller: Follows accepted batches; None if none is followed.
    """

    def __init__(
        self,
        *,
        state_tracker: StateTracker,
        rejects: Rejections,
        status_poller: StatusPoller | None,
    ) -> None:
        self._state_tracker = state_tracker
        self._rejects = rejects
        self._status_poller = status_poller
        self._lock = threading.Lock()

    def accepted(self, batch: Batch, send: Send, response: Accepted) -> list[PendingContact]:
        """Book contacts that the API has taken, but for those that its answer names as invalid.

        Returns:
            Those that it has taken.
        """
        report, contacts = batch.stream.report, send.contacts
        invalid = response.invalid_contacts.ids
        unknown = [c for c in contacts if invalid and c.contact.contact_id in invalid]
        taken = [c for c in contacts if c not in unknown] if unknown else list(contacts)
        source_records = [part.source_record for contact in taken for part in contact.parts]
        with self._lock:
            report.accepted += len(taken)
            report.merged += len(source_records) - len(taken)
            named = {p.name or p.property_id or "?" for p in response.invalid_properties}
            report.ignored_properties.update(named)
        for contact in unknown:
            self._rejects.add(batch.stream, contact.source_records, UNKNOWN_CONTACT_ID)
        if self._status_poller is not None:
            if not send.alone and response.batch_id is not None:
                self._status_poller.watch(
                    response.batch_id,
                    contacts=len(contacts),
                    named_invalid=len(unknown),
                    report=report,
                    source_records=source_records,
                )
            else:
                self._status_poller.cannot_follow(len(taken), report, is_batch=not send.alone)
            if self._status_poller.is_required and not send.alone:
                return taken
        self._state_tracker.settle(source_records)
        return taken

    def rejected(self, held: Held) -> None:
        """Book a contact that was refused alone."""
        refused = held.refused
        said = f"MainBrainer said: {refused.message}" if refused.message else ""
        reason = f"Refused alone with status {refused.status}."
        self._rejects.add(
            held.batch.stream,
            held.contact.source_records,
            Rejection(
                f"refused_{refused.status}", f"{reason} {said or 'MainBrainer gave no reason.'}"
            ),
            answer={"status": refused.status, "message": refused.refusal.message},
        )
