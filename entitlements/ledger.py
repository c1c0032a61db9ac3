"""Units by event time, held in memory: what the decision tool, simulation and tests give to ``State.ledger``."""

from __future__ import annotations

from collections.abc import Iterable

from entitlements.model import Instant


class Entries:
    """Ledger entries grouped by account and key.

    Args:
        entries: ``(account, key, units, at)``; ``units`` may be negative where something was put right.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[tuple[str, str, int, Instant]] = ()) -> None:
        self._entries: dict[tuple[str, str], list[tuple[Instant, int]]] = {}
        for account, key, units, at in entries:
            self._entries.setdefault((account, key), []).append((at, units))

    def used(self, account: str, key: str, since: Instant | None, until: Instant | None) -> int:
        """Units whose event lies in ``[since, until)``; ``None`` is open."""
        total = 0
        for at, units in self._entries.get((account, key), ()):
            if (since is None or since <= at) and (until is None or at < until):
                total += units
        return total
