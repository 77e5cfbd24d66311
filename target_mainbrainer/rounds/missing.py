"""Missing people: those who did not come though their stream was read in full.

A stream is read in full only if `streams.<name>.full_table` says so. A person who was missing in
two full reads in a row is gone. If too many are missing, none of them is, and nothing is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from target_mainbrainer.contacts import Contact, with_identity
from target_mainbrainer.errors import Reason
from target_mainbrainer.ledger import people
from target_mainbrainer.ledger.content import Person, identity_from
from target_mainbrainer.ledger.ledger import Ledger
from target_mainbrainer.rounds.batches import BatchEnd
from target_mainbrainer.rounds.comparing import Comparer
from target_mainbrainer.rounds.moves import drift_limit
from target_mainbrainer.rounds.round import ClosedRound, Stream, Upsert
from target_mainbrainer.settings.declared import Settings
from target_mainbrainer.words import counted, shown

READS_UNTIL_GONE = 2
"""Full reads in a row in which a person has to be missing."""


class Missing:
    """Keeps account of what makes a read a full one, and deals with who is missing at its end.

    Args:
        settings: The run's settings.
        ledger: The run's ledger.
        comparer: Knows who has come.

    Attributes:
        incomplete: Streams, by number, of which a record came whose person is unknown.
        problems: Each reason why the run has failed, and no changed address is followed.
        not_opted_out: Each stream that has people who could not be opted out, in a sentence.
        warnings: What a person should look at, where that does not fail the run.
    """

    def __init__(self, settings: Settings, ledger: Ledger, comparer: Comparer) -> None:
        self._ledger = ledger
        self._comparer = comparer
        self._opts_out = settings.missing_records == "opt_out"
        self._awaits_status = settings.confirm_batches != "none"
        self._max_drift_percent = settings.max_drift_percent
        self._streams: dict[int, Stream] = {}
        self._counted: list[Person] = []
        self.incomplete: set[int] = set()
        self.problems: list[Reason] = []
        self.not_opted_out: list[str] = []
        self.warnings: list[str] = []

    def expect(self, stream: Stream) -> None:
        """Note a stream that is read in full."""
        if stream.number is not None:
            self._streams[stream.number] = stream

    def end(self) -> Iterator[ClosedRound]:
        """Mark who is missing, and yield the round that opts out those who are gone.

        The input has ended whole, and everybody who came is delivered.
        """
        for number, stream in self._streams.items():
            if number in self.incomplete:
                self.warnings.append(
                    f"Stream '{shown(stream.name)}': some records have no key that can be read, or "
                    "come from a rejects file, so no person counts as missing."
                )
                continue
            missing = self._missing(number)
            if not missing:
                continue
            report = stream.report
            report.missing += len(missing)
            if not self._is_within_limit(number, stream, len(missing)):
                continue
            gone = self._count(missing)
            report.gone += len(gone)
            upserts = self._opt_outs(stream, gone) if self._opts_out else {}
            yield ClosedRound(list(upserts.values()), awaits_status=self._awaits_status)
            self._mark(stream, gone, upserts)

    def save(self) -> None:
        """Write who was missing in this run, which has ended well.

        One that failed may be run again at once, and read what was not there yet once more.
        """
        self._ledger.write(lambda connection: people.save(connection, self._counted))

    def _missing(self, stream: int) -> list[Person]:
        seen, up_to = self._comparer.seen, self._comparer.newest_person

        return self._ledger.read(
            lambda c: [
                one for one in people.not_gone(c, stream, up_to=up_to) if (one.id or 0) not in seen
            ]
        )

    def _is_within_limit(self, number: int, stream: Stream, missing: int) -> bool:
        known = self._comparer.known(number)
        moving = self._comparer.deferred.moving()[number, stream.name]
        limit = drift_limit(known, self._max_drift_percent)
        if missing + moving <= limit and 2 * missing <= known:
            return True
        moved = f" and {moving:,} have moved" if moving else ""
        text = (
            f"Of {known:,} known people of stream '{shown(stream.name)}' {missing:,} are "
            f"missing{moved}, more than 'max_drift_percent' ({self._max_drift_percent}) or half of "
            "the stream, so none of them counts as gone. Check that the tap reads the whole "
            "stream; if they have really gone, raise the setting for one run. If they are more "
            "than half, forget them with 'mainbrainer-ledger forget', or set 'missing_records' to "
            "'ignore' for one run; then no person is opted out."
        )
        if self._opts_out:
            self.problems.append(Reason("max_drift_percent", text))
        else:
            self.warnings.append(text)
        return False

    def _count(self, missing: list[Person]) -> list[Person]:
        """Count one more full read without these people; return those who are gone now."""
        for person in missing:
            person.missed += 1
        self._counted += missing
        return [person for person in missing if person.missed >= READS_UNTIL_GONE]

    def _mark(self, stream: Stream, gone: list[Person], upserts: Mapping[str, Upsert]) -> None:
        """Mark people as gone, unless their contact is still to be opted out by a later run."""
        sent = {text: upsert.batch for text, upsert in upserts.items() if upsert.outgoing}
        left = {
            text for text, batch in sent.items() if batch is None or batch.end is BatchEnd.FAILED
        }
        open_ = {
            text
            for text, batch in sent.items()
            if self._awaits_status and batch and batch.is_awaited
        }
        again = left | open_
        done = [person for person in gone if again.isdisjoint({person.identity, person.previous})]
        for person in done:
            person.is_gone = True
        stream.report.opted_out += len(sent) - len(again)
        if left:
            who = counted(len(left), "person is", "people are")
            self.not_opted_out.append(
                f"Stream '{shown(stream.name)}': {who} gone and could not be opted out, "
                "because MainBrainer refused it or the batch failed. The next full read tries "
                "again; or opt them out by hand, and remove them with 'mainbrainer-ledger forget'."
            )
        self._ledger.write(lambda connection: people.save(connection, done))

    def _opt_outs(self, stream: Stream, gone: list[Person]) -> dict[str, Upsert]:
        """Return the contacts of people who are gone, except those that another person has, too.

        Of identities that differ only in their spelling MainBrainer may have a contact each.
        People who are deferred come to their contacts in this run.
        """
        ids = {person.id for person in gone}
        texts = {text for one in gone for text in (one.identity, one.previous) if text is not None}
        hashes, account = self._ledger.hashes, self._ledger.account
        found = {text: hashes.identity(identity_from(text)) for text in sorted(texts)}
        wanted = {*found.values()}
        owners = self._ledger.read(lambda c: people.holders_of(c, account, wanted, hashes))
        movers = self._comparer.deferred.movers.values()
        coming = {hashes.identity(mover.parts[-1].contact) for mover in movers}
        destination = stream.destination._replace(webhook_url=None)
        no = Contact(mobile_opt_in=False, email_opt_in=False)
        return {
            text: Upsert(with_identity(no, identity_from(text)), [], destination)
            for text, one in found.items()
            if one not in coming and all(owner.id in ids for owner in owners[one])
        }
