"""The state behind limits of one feed: holders, ledger entries, bookings, loans and other systems' words.

Sparse tables beside the dense rows. They belong to the feed's contents: filled from the snapshot, changed by the feed's
changes only, each of which is one step that no decision can see half done.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import Final, Generic, TypeVar

import msgspec

from entitlements.wire.state import (
    Booking,
    BookingChange,
    Holder,
    HolderChange,
    Loan,
    LoanChange,
    Units,
    UnitsChange,
    Upstream,
    UpstreamChange,
)
from readers.breath import Breath, paced
from readers.changes import AnyChange
from readers.units import UnitTable

T = TypeVar("T")
W = TypeVar("W", bound=msgspec.Struct)
Pair = tuple[str, str]

AT_ONCE: Final = 64
"""Items written in one piece, some 10 kB."""

_encoder = msgspec.json.Encoder()
_holder_decoder: msgspec.json.Decoder[Holder] = msgspec.json.Decoder(Holder)


class RawState(msgspec.Struct, frozen=True, kw_only=True):
    """:class:`~entitlements.wire.state.StateSnapshot` with its items unread: a hundred thousand of them read in one go
    would keep the interpreter from the gates for as long as it takes.
    """

    holders: list[msgspec.Raw] = []
    units: list[msgspec.Raw] = []
    bookings: list[msgspec.Raw] = []
    loans: list[msgspec.Raw] = []
    upstreams: list[msgspec.Raw] = []


class Shelf(Generic[T]):
    """Things that have an id and are asked for by a pair of words."""

    __slots__ = ("_by_pair", "_pairs")

    def __init__(self) -> None:
        self._by_pair: dict[Pair, tuple[tuple[str, T], ...]] = {}
        self._pairs: dict[str, Pair] = {}

    def get(self, pair: Pair) -> tuple[tuple[str, T], ...]:
        """All of a pair, each with its id."""
        return self._by_pair.get(pair, ())

    def find(self, name: str) -> T | None:
        """The thing with this id."""
        pair = self._pairs.get(name)
        return None if pair is None else next(thing for known, thing in self._by_pair[pair] if known == name)

    def put(self, name: str, pair: Pair, thing: T | None) -> None:
        """Put a thing in the place of the one with this id, if there was one; ``None`` removes it."""
        before = self._pairs.pop(name, None)
        if before is not None:
            rest = tuple(item for item in self._by_pair[before] if item[0] != name)
            if rest:
                self._by_pair[before] = rest
            else:
                del self._by_pair[before]
        if thing is not None:
            self._by_pair[pair] = (*self._by_pair.get(pair, ()), (name, thing))
            self._pairs[name] = pair

    def copy(self) -> Shelf[T]:
        """A shelf that changes of this one do not reach."""
        made: Shelf[T] = Shelf()
        made._by_pair, made._pairs = self._by_pair.copy(), self._pairs.copy()
        return made

    def __iter__(self) -> Iterator[T]:
        for items in self._by_pair.values():
            for _, thing in items:
                yield thing


class Holdings:
    """The tables of one feed. Asking never waits and never raises."""

    __slots__ = ("_bookings", "_holders", "_loans", "_upstreams", "units", "units_at_base")

    def __init__(self) -> None:
        self.units = UnitTable()
        self.units_at_base = 0
        """Entries there were when the tables were read from a snapshot or base."""
        # Holders as JSON, read when asked for (about a microsecond): a tenth of a million objects with dicts in them
        # would take 50 MB and have the garbage collector stop decisions.
        self._holders: dict[int, bytes] = {}
        self._bookings: Shelf[Booking] = Shelf()
        self._loans: Shelf[Loan] = Shelf()
        self._upstreams: dict[Pair, Upstream] = {}

    # -- what the gate asks --

    def holder(self, index: int) -> Holder | None:
        """What is kept of the holder of the card with this index."""
        body = self._holders.get(index)
        return None if body is None else _holder_decoder.decode(body)

    def bookings(self, resource: str, key: str) -> tuple[tuple[str, Booking], ...]:
        """Bookings of a resource by a person, each with its id."""
        return self._bookings.get((resource, key))

    def booking(self, name: str) -> Booking | None:
        """The booking with this id, as long as it is open."""
        return self._bookings.find(name)

    def loans(self, pool: str, key: str) -> tuple[tuple[str, Loan], ...]:
        """What a person has out of a pool, each with its id."""
        return self._loans.get((pool, key))

    def upstream(self, name: str, key: str) -> Upstream | None:
        """The last word of another system on a person."""
        return self._upstreams.get((name, key))

    # -- what the feed says --

    def take(self, change: AnyChange) -> bool:
        """Take a change, if it is one of these tables'.

        Raises:
            ValueError: it names a day that does not exist; nothing was changed.
        """
        if isinstance(change, UnitsChange):
            self.units.put(change.entry)
        elif isinstance(change, HolderChange):
            self._holders[change.holder.index] = _encoder.encode(change.holder)
        elif isinstance(change, BookingChange):
            self._put_booking(change.booking)
        elif isinstance(change, LoanChange):
            self._put_loan(change.loan)
        elif isinstance(change, UpstreamChange):
            self._put_upstream(change.upstream)
        else:
            return False
        return True

    def _put_booking(self, booking: Booking) -> None:
        pair = (booking.resource, booking.key)
        self._bookings.put(booking.booking, pair, None if booking.gone else booking)

    def _put_loan(self, loan: Loan) -> None:
        date.fromisoformat(loan.due)
        self._loans.put(loan.loan, (loan.pool, loan.key), None if loan.gone else loan)

    def _put_upstream(self, upstream: Upstream) -> None:
        self._upstreams[upstream.name, upstream.key] = upstream

    # -- to disk and back --

    @classmethod
    def read(cls, state: RawState) -> Holdings:
        """The tables of a snapshot's or base's state. Meant for a thread.

        Raises:
            msgspec.DecodeError, ValueError: an item does not have the form of this version.
        """
        made = cls()
        for raw, holder in _decoded(state.holders, Holder):
            made._holders[holder.index] = bytes(raw)
        made.units = UnitTable(entry for _, entry in _decoded(state.units, Units))
        made.units_at_base = made.units.count
        for _, booking in _decoded(state.bookings, Booking):
            made._put_booking(booking)
        for _, loan in _decoded(state.loans, Loan):
            made._put_loan(loan)
        for _, upstream in _decoded(state.upstreams, Upstream):
            made._put_upstream(upstream)
        return made

    def copy(self) -> Holdings:
        """Tables that changes of these do not reach, for a thread that writes them; copies references only.

        Safe in a thread while changes are applied: each table is copied in one step of the interpreter.
        """
        made = Holdings()
        made.units = self.units.copy()
        made._holders = self._holders.copy()
        made._bookings, made._loans = self._bookings.copy(), self._loans.copy()
        made._upstreams = self._upstreams.copy()
        return made

    def write(self) -> Iterator[bytes]:
        """What :meth:`read` reads, as JSON in pieces: 36 MB put together keep the interpreter for 20 ms. Meant for a
        thread, so for a copy that nobody changes.
        """
        bodies: dict[str, Iterator[bytes]] = {
            "holders": iter(self._holders.values()),
            "units": map(_encoder.encode, self.units),
            "bookings": map(_encoder.encode, self._bookings),
            "loans": map(_encoder.encode, self._loans),
            "upstreams": map(_encoder.encode, self._upstreams.values()),
        }
        for number, (name, items) in enumerate(bodies.items()):
            yield b'%b"%b":[' % (b"," if number else b"{", name.encode())
            yield from _listed(items)
            yield b"]"
        yield b"}"


def _decoded(raws: list[msgspec.Raw], kind: type[W]) -> Iterator[tuple[msgspec.Raw, W]]:
    decoder = msgspec.json.Decoder(kind)
    breath = Breath()
    for raw in raws:
        yield raw, decoder.decode(raw)
        breath.take()


def _listed(items: Iterator[bytes]) -> Iterator[bytes]:
    """Items between commas, some at a time."""
    between = b""
    for some in paced(iter(lambda: list(islice(items, AT_ONCE)), [])):
        yield between + b",".join(some)
        between = b","
