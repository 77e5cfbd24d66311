"""What must hold, always: the six guarantees, each a rule of a few lines.

The oracle knows what the taps wrote, what requests came, what the CRM holds, what people did by
hand, and what the runs wrote: STATE, exit code, warnings, rejects, report. It knows nothing of how
the target works.
"""

from __future__ import annotations

import itertools
import re
import typing as t
from collections import Counter

from tests.years.evidence import DAY, OPT_INS, Evidence
from tests.years.history import (
    Columns,
    Run,
    Said,
    covers,
    folded,
    has_yes,
    identity_in,
    identity_of,
    is_bad,
    is_refused,
    is_rival,
    kept,
    written,
)
from tests.years.source import COUNTRIES, FEW, ONCE, STREAMS, has_keys, is_mappable
from tests.years.world import ENDED_BY_KILL

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mainbrainer_sandbox.rules import Contact, Sent
    from tests.years.crm import CRM
    from tests.years.source import ONCE, Source
    from tests.years.world import Process

READS_UNTIL_GONE = 2
ABSENT_SECONDS = 30 * DAY
PROPERTIES = {"firstname", "city"}


_SEVERE = """
    sent for no person, consent that no record gives, consent of somebody who is listed,
    an opt-out that no record asks for, a value that no record has, counts do not add up,
    success with records undelivered, records not counted, STATE is ahead of a record,
    faster than the plan allows, two runs deliver one stream, a run ends with a fault of its own
"""
WITHOUT_EXCEPTION = frozenset(map(str.strip, _SEVERE.split(",")))
"""Rules that need no excuse. The others excuse what a hand, a kill or a lost batch explains; as
these excuses may be too few, a year that breaks one of them is to be looked at."""


class Oracle(Evidence):
    """Judges.

    Attributes:
        broken: The guarantees that were broken, in sentences.
    """

    def __init__(self, source: Source, crm: CRM) -> None:
        super().__init__(source, crm)
        self.broken: list[str] = []
        crm.watch = self.request

    def _break(self, rule: str, what: object) -> None:
        self.broken.append(f"{rule}: {what}")

    # What happens

    # Consent is never made up, and silence is not evidence: at each request

    def request(self, process: Process, contacts: Sequence[Sent]) -> None:
        """Judge a request as it comes."""
        run = self.runs[process]
        self.mappings.add(f"{run.config['field_map']} {self.source.has_city}")
        for name in run.streams:
            self._turn(process, self.turns[name])
        for sent in contacts:
            whose = self.whose(sent)
            came = [row for key in whose for row in run.by_key.get(key, ())]
            rows = [row for row in came if is_mappable(row)]
            if not whose:
                self._break("sent for no person", sent)
            for name in OPT_INS:
                if getattr(sent, name) is not None:
                    self._opt_in(run, sent, name, rows if getattr(sent, name) else came, whose)
            for name, value in sent.properties.items():
                if name in PROPERTIES and value not in {row.get(name) for row in rows}:
                    self._break("a value that no record has", (name, value, sent))
            self._corrected(process, sent, whose)
            self._unchanged(run, sent, whose)
            self._note_sent(run, sent, whose)
            run.sent |= whose
            if not run.is_certain:
                self._may_move(sent, whose)

    def _note_sent(self, run: Run, sent: Sent, whose: set[int]) -> None:
        now = identity_in(sent)
        rows = {key: self.people[key].last for key in whose}
        there = {key for key, row in rows.items() if row is not None and identity_of(row) == now}
        for key in whose:
            one = self.people[key]
            if sent.properties:
                run.tried |= set() if has_yes(sent) else {key}
                one.sent_as.add(now)
                one.sent_alone |= {now[0]} if len(whose) == 1 else set()
                run.sent_data.add(key)
            is_for = key in there or (sent.properties and not there)  # else it is another person's
            if sent.contact_id is None and is_for:
                run.sent_to[key] = written(sent)

    def _opt_in(
        self, run: Run, sent: Sent, name: str, rows: list[Columns], whose: set[int]
    ) -> None:
        now = identity_in(sent)
        for key in whose:
            one = self.people[key]
            if not run.is_certain:
                run.said |= set() if (name, now) in one.doubtful else {(key, name, now)}
                one.doubtful.add((name, now))
            elif getattr(sent, name) and one.last and identity_of(one.last) == now:
                one.doubtful -= {(name, now), (name, None)}
        (self._yes if getattr(sent, name) else self._no)(run, sent, name, rows, whose)

    def _turn(self, process: Process, turns: list[Process]) -> None:
        """A run sends nothing once another has begun to."""
        if process in turns[:-1]:
            self._break("two runs deliver one stream", [one.number for one in turns])
        elif process not in turns:
            turns.append(process)

    def _yes(self, run: Run, sent: Sent, name: str, rows: list[Columns], whose: set[int]) -> None:
        """A yes is one that the source says now, of a person neither listed nor unsubscribed."""
        if not any(row.get(name) is True for row in rows):
            self._break("consent that no record gives", (name, sent))
        contact = self._found(sent)
        listed = {one.lower() for one in run.config["listed"]}
        parts = {*written(sent), *(written(contact) if contact else ())}
        is_known = has_keys(self.source.seed) and self.source.streams == STREAMS[:1]
        if len(whose) == 1 and is_known and not (self.has_new_stream or self.has_restored):
            parts |= {part for key in whose for part in self.people[key].sent_alone}
        if not listed.isdisjoint((part or "").lower() for part in parts):
            self._break("consent of somebody who is listed", (name, sent))
        if contact is None or run.config["unchanged_opt_in"] != "omit" or self.has_restored:
            return
        if self._has_twin(contact):
            return  # what was said of the two is one to the ledger
        withdrawn_at = self.crm.held[contact.id].unsubscribed.get(name)
        if withdrawn_at is None:
            return
        if not any(self.people[key].no_at.get(name, 0.0) >= withdrawn_at for key in whose):
            self._break("signed up again who had unsubscribed", (name, sent, contact.id))

    def _no(self, run: Run, sent: Sent, name: str, rows: list[Columns], whose: set[int]) -> None:
        """A no is one that the source says, or of somebody deleted, gone or merged."""
        if any(row.get(name) is False for row in rows):
            return
        if run.config["deleted_records"] == "opt_out" and any(
            row.get("_sdc_deleted_at") for row in rows
        ):
            pass
        elif not self.has_restored and any(self._is_here(run, key, sent) for key in whose):
            self._break("an opt-out of somebody who is there", (name, sent))
        elif not (self._is_gone(run, whose) or self._is_merged(run, sent, whose)):
            self._break("an opt-out that no record asks for", (name, sent))
        for key in whose:  # a yes after it is a new one
            self.people[key].no_at[name] = self.crm.world.now

    def _is_here(self, run: Run, key: int, sent: Sent) -> bool:
        """Return whether a person came lately, and was sent with this very address and number.

        A part that it has no more the CRM may have kept, so that it has another one there. A run
        does not know what another one reads beside it.
        """
        one = self.people[key]
        if one.last is None or one.missed or one.is_deleted or one.is_rejected:
            return False
        if self.has_new_stream and one.came_at < self.crm.world.now - ABSENT_SECONDS:
            return False  # of a stream that did not come for a month
        email, mobile = identity_of(run.by_key.get(key, [one.last])[-1])
        has_lost = bool((not email and one.emails) or (not mobile and one.mobiles))
        now = identity_in(sent)
        return now == (email, mobile) and now in one.sent_as and not has_lost

    def _is_gone(self, run: Run, whose: set[int]) -> bool:
        """Return whether somebody is missing in two full reads in a row, and to be opted out."""
        return run.config["missing_records"] == "opt_out" and any(
            self.people[key].missed >= READS_UNTIL_GONE and key not in run.by_key for key in whose
        )

    def _is_merged(self, run: Run, sent: Sent, whose: set[int]) -> bool:
        """Return whether its people have the address and number of another contact by now.

        That one has their consent; a later no would not reach this one.
        """
        currents = [self.people[key].last for key in whose if key in run.by_key]
        identities = [identity_of(row) for row in currents if row is not None]
        has_left = all if len(self.source.streams) == 1 else any  # as one of the streams says
        rows = [row for key in whose for row in run.by_key.get(key, ()) if is_mappable(row)]
        came = identities if len(self.source.streams) == 1 else map(identity_of, rows)
        return bool(identities) and (
            any(len(self.owners(*one)) > 1 for one in identities)
            or has_left(one != identity_in(sent) for one in came)
        )

    # Never faster than the plan allows

    def pace(self, burst: int) -> None:
        """No ten seconds have more requests than the plan allows."""
        times = self.crm.arrivals
        for first, last in zip(times, times[burst:], strict=False):
            if burst and last - first < 10.0:
                self._break("faster than the plan allows", (first, last))
        times.clear()

    # What was corrected by hand stays

    def _corrected(self, process: Process, sent: Sent, whose: set[int]) -> None:
        """A city that was corrected by hand is sent only after the source has changed it."""
        run = self.runs[process]
        contact = self._found(sent)
        if contact is None or "city" not in sent.properties or not run.is_certain:
            return
        held = self.crm.held[contact.id]
        if held.city is None or held.city == sent.properties["city"] or held.is_late:
            return
        if any(self.people[key].city_at >= held.city_at for key in whose):
            return
        takes_turns = len({(self.people[key].last or {}).get("city") for key in whose}) > 1
        if len(self.mappings) > 1 or self.has_restored or takes_turns:
            # What is mapped elsewhere is new there, an older ledger knows less, and of people who
            # share a contact the last one in the input is sent.
            return
        if run.config.get("unchanged_contacts") == "send" or any(
            self.people[key].moved or self.people[key].is_unsure for key in whose
        ):
            return
        made = [self.people[key] for key in self._recreated(process)]
        if any(one.is_absent or one.is_unsure for one in made):
            return  # which contacts are gone shows only when all of their batch are sent again
        self._break("a correction by hand was overwritten", (sent, held.city))

    # Only what has changed is sent

    def _unchanged(self, run: Run, sent: Sent, whose: set[int]) -> None:
        """No field is sent that a contact has already, unless something is in doubt.

        Nor is what is sent once, but to a new contact. What was accepted before in the run is sent
        once more, without a yes, as a proof, or to find out which contacts were recreated; or the
        proof comes first.
        """
        if sent.contact_id is not None or not run.is_certain or self.doubt or len(whose) > 1:
            return
        if self.has_restored or self.has_new_stream or len(self.mappings) > 1:
            return
        if run.config.get("unchanged_contacts") == "send":
            return
        for key in whose:
            one = self.people[key]
            is_again = key in run.tried or (key in run.sent and not has_yes(sent))
            is_doubtful = one.is_unsure or one.is_absent or one.is_rejected or one.is_stuck
            if is_again or is_doubtful or one.moved or len(run.by_key.get(key, ())) > 1:
                return
        contact = self._found(sent)
        has = {} if contact is None else contact.properties
        if again := {name for name, value in sent.properties.items() if has.get(name) == value}:
            self._break("sent though it has not changed", (again, sent))
        is_once = run.config["field_map"] == ONCE and sent.properties
        if is_once and ("id" in sent.properties) is not (contact is None):
            self._break("what is sent once is not sent with the new contact alone", sent)

    # After each run

    def ended(
        self, process: Process, report: dict[str, t.Any], rejected: Sequence[tuple[int, Columns]]
    ) -> None:
        """Judge a run that has ended."""
        run = self.runs[process]
        self.has_new_stream |= self.source.streams != STREAMS[:1]
        run.rejected = {key for key, _ in rejected}
        codes = Counter(said["code"] for _, said in rejected)
        streams = report.get("streams", {}).values()
        if process.code == 0 and codes != _total([one["rejected_by_code"] for one in streams]):
            self._break("records rejected are not counted", codes)
        reasons = {reason["code"] for reason in report.get("reasons", ())}
        refused = [(key, said) for key, said in rejected if said["code"].startswith("refused")]
        self._set_aside(process, refused, reasons)
        for key, rows in run.by_key.items():
            one = self.people[key]
            one.is_rejected = key in run.rejected
            if "email" in rows[-1] and is_mappable(rows[-1]):
                one.is_stuck = one.is_rejected
        if report and process.code != ENDED_BY_KILL:
            self._counts(run, process, report)
        for state in process.states[-1:]:
            self._state(process, state)
        if report:
            self._reasons(run, process, reasons)
        if run.is_certain:
            self._warnings(run, process)
        if run.is_certain or not process.code:
            self._follow_again(run, process)
        self.moving = run.movers | self.moving if process.code else set()
        self._excuse(run, process)
        self._said_for_nothing(run, process)
        self._doubt(run, process)
        for batch in self.batches(process) if process.code == 0 else ():
            self._book(batch)

    def _said_for_nothing(self, run: Run, process: Process) -> None:
        """An opt-in is said again if a status has said that its batch has failed.

        One that was not confirmed when its run had to end may have been said, or not.
        """
        if process.code and run.config["confirm_batches"] == "require":
            for batch in filter(self._is_late, self.batches(process)):
                for sent in batch.contacts:
                    self._doubt_opt_ins(self.whose(sent), identity_in(sent))
        batches = self.batches(process) if process.code == 0 else []
        failed = {identity_in(sent) for one in batches if one.is_told for sent in one.contacts}
        others = {identity_in(sent) for one in batches if not one.is_told for sent in one.contacts}
        for key, name, identity in run.said:
            if identity in failed - others:
                self.people[key].doubtful.discard((name, identity))

    def _set_aside(
        self, process: Process, refused: Sequence[tuple[int, Columns]], reasons: set[str]
    ) -> None:
        """Only a contact that the CRM refuses costs its records, not a request that is at fault.

        Nothing shows which it is if nothing was accepted and the words were always the same.
        A contact that was accepted before is sent once more to prove it, if there is one that has
        data, keeps its address and number, and did not come again, nor another one with them.
        A bad address that a person has lost may be kept. The words of the refusal are kept, too.
        """
        words = {said.get("message") for _, said in refused}
        if not all(words):
            self._break("a refusal without its words", refused)
        if "nothing_accepted" in reasons and len(words) == 1:
            self._break("set aside though it may be the request", refused)
        keys = {key for key, _ in refused}
        good = {key for key in keys if not any(map(is_bad, self.people[key].emails))}
        batches = self.batches(process)
        if any(batch.accepted_at > self.crm.refused_at for batch in batches):
            return  # not every request was refused, which counts as proof
        all_sent = [*self.crm.refused, *(sent for batch in batches for sent in batch.contacts)]
        has_proof = any(
            all(sent.properties and sent.contact_id is None for sent in batch.contacts)
            and keys.isdisjoint(self._people_in([batch]))
            and not any(is_rival(sent, one) for sent in batch.contacts for one in all_sent)
            for batch in batches
            if batch.accepted_at < self.crm.refused_at
        )
        if good and has_proof:
            self._break("set aside though it is good", good)

    def _reasons(self, run: Run, process: Process, reasons: set[str]) -> None:
        """A run fails for a reason, and not for one of its own."""
        if "unexpected" in reasons:
            self._break("a run ends with a fault of its own", process.log[-3:])
        if run.joined and "max_drift_percent" not in reasons:
            self._break("a bad join was let in", run.joined)
        if run.is_certain and process.code:
            self._fails(run, reasons)

    def _fails(self, run: Run, reasons: set[str]) -> None:
        """A night in which nothing goes wrong fails only if the CRM refuses all that is sent.

        That may be the opt-out of somebody who was always refused, and is gone. Or many have moved
        since the last night that delivered, or that had this stream, or the backup, or are missing.
        """
        refused = [one for one in self.people.values() if one.last and is_refused(one.last)]
        allowed = {"nothing_accepted"}
        if any(one.missed >= READS_UNTIL_GONE for one in refused):
            allowed.add("not_delivered")
        missing = [one for one in self.people.values() if one.missed]
        is_old = self.has_new_stream or self.has_restored
        if is_old or len(missing) + len(run.movers | self.moving) > FEW:
            allowed |= {"max_drift_percent", "not_delivered"}  # no changed address is followed
        if not reasons <= allowed:
            self._break("a quiet night fails", reasons)

    def _counts(self, run: Run, process: Process, report: dict[str, t.Any]) -> None:
        """Every record read has exactly one outcome."""
        outcomes = ("accepted", "merged", "unchanged", "rejected", "omitted", "undelivered")
        streams = report.get("streams", {}).values()
        for counts in streams:
            outcome = sum(counts[name] for name in outcomes)
            kinds = counts["created"] + counts["updates"] + counts["resent"] + counts["unchanged"]
            if outcome != counts["read"] or counts["undelivered"] < 0 or kinds > counts["read"]:
                self._break("counts do not add up", counts)
            if run.config.get("unchanged_contacts") == "send" and counts["unchanged"]:
                self._break("not sent though all are to be", counts)
            if process.code == 0 and counts["undelivered"]:
                self._break("success with records undelivered", counts)
        read = sum(counts["read"] for counts in streams)
        if process.code == 0 and streams and read != len(run.records):
            self._break("records not counted", (read, len(run.records)))
        if process.code == 0 and run.config["confirm_batches"] != "none":
            self._told(process, [*streams])
        if run.is_certain and process.code == 0:
            self._moved(run, process, sum(counts["moved"] for counts in streams))
            self._kinds(run, _total(streams))
            self._not_followed(process, sum(counts["not_followed"] for counts in streams))

    def _kinds(self, run: Run, counts: Counter[str]) -> None:
        """If no person moves, each contact accepted was new, an update, or sent in full once more.

        What was new is inserted, or was there already.
        """
        is_doubtful = self.doubt or any(self.people[key].is_unsure for key in run.sent)
        if run.movers or counts["moved"] or counts["not_followed"] or is_doubtful:
            return
        kinds = counts["created"] + counts["updates"] + counts["resent"]
        if kinds != counts["accepted"]:
            self._break("contacts are not counted by kind", (kinds, counts))
        is_asked = run.config["confirm_batches"] != "none" and not counts["unconfirmed"]
        others = ("resent", "recreated", "skipped", "failed", "rejected")
        new = counts["inserted"] + counts["already_there"]
        if is_asked and not any(counts[name] for name in others) and new != counts["created"]:
            self._break("statuses are not counted by kind", (new, counts))

    def _told(self, process: Process, streams: Sequence[dict[str, int]]) -> None:
        """What statuses have said is counted, but not of a search for a contact, or of a move.

        Nor of what was accepted before and sent once more.
        """
        batches = self.batches(process)
        done = [one.applied for one in batches if one.applied]
        failed = [sent for one in batches if one.is_told for sent in one.contacts]
        others = {identity_in(sent) for one in batches if not one.is_told for sent in one.contacts}
        first = {identity_in(sent) for sent in failed if sent.properties and not sent.contact_id}
        said = {
            "inserted": (0, sum(len(one.inserted) for one in done)),
            "updated": (0, sum(len(one.updated) for one in done)),
            "failed": (len(first - others), len(failed)),
        }
        for name, (least, most) in said.items():
            if not least <= (counted := sum(counts[name] for counts in streams)) <= most:
                self._break("what statuses have said is not counted", (name, counted, least, most))

    def _moved(self, run: Run, process: Process, moved: int) -> None:
        """Each contact that was named to get another address is one that has moved."""
        batches = self.batches(process)
        named = {sent.contact_id: batch for batch in batches for sent in batch.contacts}
        there = [one for one in self.crm.contacts.values() if one.id in named]
        certain = [
            one
            for one in there
            if (done := named[one.id].applied) and one.id in done.updated
            if not self._is_late(named[one.id])
        ]
        whose = {key for one in there for key in self.whose(one) if key in run.by_key}
        if not len(certain) <= moved <= len(whose) * len(self.source.streams):
            self._break("people who have moved are not counted", (moved, named.keys(), whose))

    def _not_followed(self, process: Process, counted: int) -> None:
        """A warning counts each contact that has not followed its person."""
        said = re.findall(r"not be followed: ([\d,]+) contact", "\n".join(process.warnings))
        if sum(int(number.replace(",", "")) for number in said) != counted:
            self._break("people who are not followed are not counted", (said, counted))

    def _state(self, process: Process, state: dict[str, t.Any]) -> None:
        """Every record before STATE is in the CRM, or was rejected, or a later one replaced it."""
        run = self.runs[process]
        last = dict(run.records[: run.marks[state["at"]]])
        if self.has_restored:
            return  # what was delivered after the backup counts as not delivered
        lost = self._lost_by_crm(process)
        for key, columns in last.items():
            later = run.by_key[key][-1]
            if key in run.rejected or later is not columns or columns.get("_sdc_deleted_at"):
                continue
            if key in lost or self._is_gone_by_hand(key, columns):
                continue
            if self._is_held(key, columns):
                continue
            self._break("STATE is ahead of a record", (key, columns))

    def _is_gone_by_hand(self, key: int, columns: Columns) -> bool:
        """Return whether the contact of an address was deleted by hand, or given another one.

        Nothing tells of that until the contact is recreated.
        """
        identity = identity_of(columns)
        owners = {key} | self.owners(*identity)
        return any(self.people[one].is_absent for one in owners) or any(
            covers(one, identity) for one in self.unnoticed
        )

    def _is_held(self, key: int, columns: Columns) -> bool:
        """Return whether the CRM holds a record, or has accepted it and not applied it yet.

        Another record of the same contact may have replaced its name.
        """
        contacts = [one for one in self.crm.contacts.values() if key in self.whose(one)]
        if any(self.crm.held[one.id].is_late for one in contacts):
            return True
        mine: list[Contact | Sent] = [*contacts]
        mine += [one for batch in self.crm.open for one in batch.contacts if key in self.whose(one)]
        names = {columns["firstname"]}
        for other in {other for one in mine for other in self.whose(one)}:
            rows = [row for run in self.runs.values() for row in run.by_key.get(other, ())]
            names |= {row.get("firstname") for row in (*rows, self.people[other].last or {})}
        return any(one.properties.get("firstname") in names for one in mine)

    def _warnings(self, run: Run, process: Process) -> None:
        """No person is left behind or recreated without a cause in a night without faults.

        A status that comes too late is a cause.
        """
        for key in self._named(process, "' again"):
            rows = [*run.by_key[key], self.people[key].last or {}]
            had = {identity_of(row) for row in rows if is_mappable(row)}
            some = [self.people[one] for now in had for one in self.owners(*now)]
            is_lost = any(one.is_absent or one.is_unsure for one in some) or self.has_restored
            if not is_lost and had.isdisjoint(self.vacated | self._lost()):
                self._break("recreated though it was not deleted", key)
        named = self._named(process, "not be followed")
        for key in named - self._late(process):
            if not self._has_cause(process, key, named):
                self._break("left behind without a cause", key)
            if process.code == 0 and (left := self._left_with_consent(process, key)):
                self._break("a contact is left with consent that no person has", left)

    def _left_with_consent(self, process: Process, key: int) -> list[Contact]:
        """Return contacts of a person who writes to another one now: no no would reach them.

        A warning has named those that were left behind before, as one that is spelt otherwise, or
        whose new address the CRM refuses because another contact has it.
        """
        one, held = self.people[key], self.crm.held
        if one.last is None or is_refused(one.last) or self.has_new_stream or self.has_restored:
            return []
        now, made = identity_of(one.last), self._inserted(process)
        if not now[0] and any(map(is_bad, one.emails)):
            return []  # with the address that it has lost its contact may have been refused
        certain = [c for c in self.crm.contacts.values() if not held[c.id].was_ghost]
        certain = [c for c in certain if not held[c.id].was_left_behind]
        there = {identity_in(c) for c in certain if c not in made}
        if now not in there or not any(now in each.sent_as for each in self.people.values()):
            return []
        old = [c for c in certain if identity_in(c) == one.before != now and self.whose(c) == {key}]
        old = [c for c in old if not self._has_twin(c) and c.id not in self.crm.refused_ids]
        return [c for c in old if c.email_opt_in or c.mobile_opt_in]

    def _has_cause(self, process: Process, key: int, named: set[int]) -> bool:
        """Return whether there is a reason not to follow a person.

        Another person has its old or its new address, or none any more; or each address that it had
        was refused; or another contact has the new one; or its contact was
        touched by hand, or something went wrong with it, or the CRM refuses its new address. That
        another key of the same person goes with it is no reason, nor is somebody new, who waits,
        unless the person came with the old address, too.
        """
        one, run = self.people[key], self.runs[process]
        if one.is_absent or one.is_unsure or one.last is None or one.before == (None, None):
            return True
        if self.has_restored or self.has_new_stream or is_refused(one.last):
            return True
        had = itertools.product([*one.emails, None], [*one.mobiles, None])
        if not self.vacated.isdisjoint(map(folded, had)):
            return True
        now = identity_of(one.last)
        if {now, one.before} & ({self.people[other].before for other in named - {key}} | self.torn):
            return True
        made = [contact.id for contact in self._inserted(process)]
        if any(
            self.crm.held[contact.id].was_left_behind
            or self.crm.held[contact.id].was_ghost
            or (identity_in(contact) == now and not self._has_had(contact, one.before))
            for contact in self.crm.contacts.values()
            if identity_in(contact) in {now, one.before, kept(one.before, now)}
            and contact.id not in made
        ):
            return True
        old = [one.before, *([identity_of(one.began[1])] if one.began else [])]
        return any(
            now in held or any(covers(*pair) for pair in itertools.product(held, old))
            for other in self.owners(*now).union(*(self.owners(*identity) for identity in old))
            if other != key and (held := self._held_for(other))
            if self.people[other].began or other not in run.by_key or run.has_moved(key)
            if not self._has_gone_with(process, other, one)
        )

    def _has_gone_with(self, process: Process, key: int, one: Said) -> bool:
        """Return whether the contact of a person has moved with another of the same keys."""
        now = identity_of(one.last or {})
        has_lost_email = not one.before[0] and one.emails - {now[0]}
        if has_lost_email or (not one.before[1] and one.mobiles - {now[1]}):
            return False  # its contact has kept that part
        return (key in self.runs[process].movers and self.people[key].before == one.before) and any(
            identity_in(contact) == now
            and self._has_had(contact, one.before)
            and key in self.whose(contact)
            for contact in self.crm.contacts.values()
        )

    # One person, one contact; and everything is in: after a night in which nothing went wrong

    def quiet(self, process: Process) -> None:
        """Judge what the CRM holds after a night without faults."""
        run = self.runs[process]
        for key, rows in run.by_key.items():
            columns = rows[-1]
            is_out = key in run.rejected or is_refused(columns)
            if is_out or self.has_restored or key in self.twins:
                continue
            mine = [contact for contact in self._followed() if self.whose(contact) == {key}]
            if columns.get("_sdc_deleted_at"):
                is_kept = run.config["deleted_records"] != "opt_out" or self.has_new_stream
                if not is_kept and any(one.email_opt_in or one.mobile_opt_in for one in mine):
                    self._break("somebody deleted is not opted out", (key, mine))
                continue
            if len(mine) > 1 and not self.has_new_stream:
                self._break("two contacts of one person", (key, mine))
            if not self._is_gone_by_hand(key, columns):
                self._is_in(run, key, columns)

    def _is_in(self, run: Run, key: int, columns: Columns) -> None:
        now = identity_of(columns)
        there = [one for one in self.crm.contacts.values() if covers(identity_in(one), now)]
        mine = [one for one in there if key in self.whose(one)]
        is_torn = len(self.source.streams) > 1 and run.has_moved(key)  # each may have a contact
        is_any = is_torn or self.people[key].is_scattered or self.has_new_stream
        found = [one for one in mine if is_any or not self.crm.held[one.id].is_left_behind]
        if not found:
            # Who shares a contact that may have gone with another is sent again the night after.
            is_shared = self.has_new_stream or len(self.owners(*now)) > 1
            if not (is_shared and key in run.unsure):
                self._break("a record is not in", (key, columns))
            return
        if is_torn or any(self._is_shared(run, key, one) for one in found):
            return
        some = [one for one in found if not self.crm.held[one.id].is_ghost] or found
        some = found if is_any else some
        # Each stream and each spelling may have a contact of its own, and a part that somebody has
        # lost may have stayed in another one.
        some += [one for one in mine if one not in some and identity_in(one) != now]
        problems = [[*self._problems(run, key, columns, contact)] for contact in some]
        for rule, name in min(problems, key=len):
            self._break(rule, (key, name, columns, some))

    def _problems(
        self, run: Run, key: int, columns: Columns, contact: Contact
    ) -> Iterator[tuple[str, str]]:
        """Yield what a contact has otherwise than a record says, with the rule that it breaks."""
        held, now = self.crm.held[contact.id], identity_in(contact)
        rows = run.by_key[key] if len(self.source.streams) > 1 else [columns]
        # Of two streams that tell of a person either may be delivered last.
        agreed = {name for name in columns if all(row.get(name) == columns[name] for row in rows)}
        had = {None, *map(folded, self.identities(contact.id))}
        is_recreated = not self.unnoticed.isdisjoint(had)  # recreated, which no run was told
        for name in PROPERTIES & agreed if not is_recreated else ():
            mapped = run.config["field_map"].get(name, name)
            is_corrected = mapped == "city" and held.city is not None
            if contact.properties.get(mapped) != columns[name] and not is_corrected:
                yield "a value is not in", name
        if run.config.get("list_id") not in {None, *contact.lists}:
            yield "a list was not joined", "list_id"
        # Of a contact that was recreated or beside another one nothing was said yet.
        is_new = self.people[key].moved or identity_of(columns) in self.vacated
        no = {False, None if is_new else False}
        for name in agreed.intersection(OPT_INS):
            is_withheld = (
                name in held.by_hand
                or self._is_listed(run, key)
                or not self.people[key].doubtful.isdisjoint((name, one) for one in had)
                # Who comes to a contact of others is sent what was not said for them.
                or any(
                    (name, identity) in self.people[one].doubtful
                    for one in self.whose(contact)
                    for identity in had - {None}
                )
                or now in self.torn
                or (run.config["unchanged_opt_in"] == "omit" and held.was_ghost)
            )
            if columns[name] is False and getattr(contact, name) not in no:
                yield "a no has not arrived", name
            if columns[name] is True and not getattr(contact, name) and not is_withheld:
                yield "a yes has not arrived", name

    def _is_shared(self, run: Run, key: int, contact: Contact) -> bool:
        """Return whether other people have, or had in this run, the identity of a contact."""
        now = identity_in(contact)
        for other in self.whose(contact) - {key}:
            one = self.people[other]
            rows = [one.last, *run.by_key.get(other, ())]
            rows += [one.began[1]] if one.began and other in run.by_key else []
            if one.is_rejected and (covers(now, one.before) or not all(map(is_mappable, rows[1:]))):
                return True  # its no reaches the contact that is known for it
            if any(row is None or covers(now, identity_of(row)) for row in rows):
                return True
        return False

    def _is_listed(self, run: Run, key: int) -> bool:
        one = self.people[key]
        all_of_it = one.emails | {f"{code}{n}" for code in COUNTRIES for n in one.mobiles}
        return bool({text.lower() for text in run.config["listed"]} & all_of_it)


def _total(some: Iterable[dict[str, t.Any]]) -> Counter[str]:
    """Return the sums of numbers by name."""
    total = Counter[str]()
    for counts in some:
        total.update({name: n for name, n in counts.items() if isinstance(n, int)})
    return total
