"""What a load costs in requests, time and the day's share of them."""

from __future__ import annotations

import math
import typing as t

from target_mainbrainer.words import counted

if t.TYPE_CHECKING:
    from collections.abc import Iterator

    from target_mainbrainer.config.limits import Plan

BURST_SECONDS = 10
OTHER_SIZES = (100, 1000)
"""What the API advises, and what it allows."""


_LEAST_SHARE = 0.001
"""A part of a day below which its number says nothing more."""


class Cost(t.NamedTuple):
    """The requests of a load.

    Attributes:
        sends: Requests that carry contacts, moved people's too.
        follows: Of these, the ones that only find moved people.
        statuses: Questions for what became of a batch, one for each; more if it takes long.
    """

    sends: int
    follows: int = 0
    statuses: int = 0

    @property
    def requests(self) -> int:
        """All of them, but for tokens."""
        return self.sends + self.statuses

    def minutes(self, plan: Plan | None) -> float | None:
        """Return how long the plan makes it take at the least; None without pacing.

        >>> from target_mainbrainer.config.limits import PLANS
        >>> Cost(10_000).minutes(PLANS["freemium"])
        16.7
        """
        if plan is None:
            return None
        return round(self.requests / plan.burst * BURST_SECONDS / 60, 1)

    def share_of_day(self, plan: Plan | None) -> float | None:
        """Return which part of a day's requests it takes; None without pacing."""
        return None if plan is None else round(self.requests / plan.daily, 4)

    def as_dict(self, plan: Plan | None) -> dict[str, t.Any]:
        """Return it for the report file."""
        return {
            "requests": self.requests,
            "requests_with_contacts": self.sends,
            "requests_to_find_moved_people": self.follows,
            "status_questions": self.statuses,
            "minutes": self.minutes(plan),
            "share_of_day": self.share_of_day(plan),
        }

    def describe(self, plan: Plan | None) -> Iterator[str]:
        """Say what it is."""
        parts = [counted(self.sends, "request with contacts", "requests with contacts")]
        if self.follows:
            parts[0] += f" ({self.follows:,} of them to find people who have moved)"
        if self.statuses:
            asked = counted(self.statuses, "question for a status", "questions for statuses")
            parts.append(f"at least {asked}")
        line = " and ".join(parts)
        if plan is not None:
            share = self.requests / plan.daily
            line += (
                f": {_duration(self.minutes(plan))} with {plan.burst} requests in 10 s, and "
                f"{'less than 0.1%' if share < _LEAST_SHARE else f'{share:.1%}'} of the day's "
                f"{plan.daily:,}"
            )
        yield f"Cost: {line}."

    def describe_other_sizes(self, contacts: int, size: int, plan: Plan | None) -> Iterator[str]:
        """Say what another `batch_size_rows` would change, if that is worth a word.

        Args:
            contacts: How many are sent.
            size: The setting as it is.
            plan: The limits to keep.
        """
        for other in OTHER_SIZES:
            batches = math.ceil(contacts / other)
            change = batches - math.ceil(contacts / size)
            if other == size or not change:
                continue
            statuses = max(self.statuses + change, 0) if self.statuses else 0
            cost = self._replace(sends=max(self.sends + change, 0), statuses=statuses)
            minutes = "" if plan is None else f", {_duration(cost.minutes(plan))}"
            yield (
                f"With 'batch_size_rows' {other} it would be about "
                f"{counted(cost.requests, 'request')}{minutes}."
            )


def _duration(minutes: float | None) -> str:
    """Say how long something takes at the least.

    >>> _duration(0.1), _duration(1_250.25)
    ('less than a minute', 'at least 1,250.2 minutes')
    """
    return f"at least {minutes:,.1f} minutes" if minutes and minutes >= 1 else "less than a minute"
