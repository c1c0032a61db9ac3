"""One-time codes: who photographs a code, copies a chip or pulls a plug gets no second entry out of it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entitlements.credential.claims import CardClaims, CardForm, Channel, VerifiedCard
from entitlements.credential.es256 import generate_private_key
from entitlements.model import CardId, CardIndex, Instant, TenantId
from readers.clock import TrustedClock
from readers.errors import DatabaseFaultError
from readers.journal import Journal
from readers.replay import CHIP_WENT_BACK, KEEP_SECONDS, SHOWN_BEFORE, WENT_BACK, ReplayBook
from readers.ring import MAX_KEY, RING_FILE, SLOT, SLOTS, Ring
from tests.unit.readers.kit.council import NOON, Council
from tests.unit.readers.kit.desk import Open

HEADER_OCTETS = 53
"""Of the first slot; the rest of it says nothing."""


def shown(sequence: int | None, form: CardForm = CardForm.LIVE, *, index: int = 7) -> VerifiedCard:
    """A card shown by a code of this number."""
    claims = CardClaims(
        issuer=TenantId("wcc"),
        card_id=CardId(index.to_bytes(8, "big")),
        index=CardIndex(index),
        issued_at=Instant(0),
        expires_at=Instant(NOON + 1_000_000),
        issue_number=1,
        channel=Channel.LIVE,
    )
    return VerifiedCard(claims=claims, form=form, kid="k", digest=b"", presentation=Channel.LIVE, sequence=sequence)


class Machine:
    """Clock, boot and data folder of one reader, through restarts."""

    def __init__(self, journal: Journal, folder: Path) -> None:
        self.journal = journal
        self.folder = folder
        self.now = float(NOON)
        self.boot = "boot-1"
        self.ran = False

    async def start(self) -> ReplayBook:
        clock = TrustedClock(wall=lambda: int(self.now * 1000), steady=lambda: int(self.now * 1000), boot=self.boot)
        clock.observe(int(self.now * 1000), 0.0)
        book = ReplayBook(self.journal, self.folder, clock, boot=self.boot, steady=lambda: self.now)
        await book.load(ran_before=self.ran)
        self.ran = True
        return book

    async def stop(self, book: ReplayBook) -> None:
        """Stop in good order."""
        await book.flush()
        book.close()

    def kill(self, book: ReplayBook) -> None:
        """SIGKILL before anything reached the database: what the kernel has it keeps."""
        book._ring.close(in_good_order=False)

    def cut_power(self, book: ReplayBook, *, after: bytes) -> None:
        """Power cut before anything reached the disk: the ring is as it was on disk, ``after`` the last sync."""
        self.kill(book)
        (self.folder / RING_FILE).write_bytes(after)
        self.boot += "+"


@pytest.fixture
def machine(journal: Journal, tmp_path: Path) -> Machine:
    return Machine(journal, tmp_path)


def details(book: ReplayBook, *cards: VerifiedCard) -> list[str | None]:
    return [None if refused is None else refused.detail for refused in map(book.take, cards)]


async def test_a_code_shown_once_is_good_for_nothing_any_more_and_an_older_one_neither(machine: Machine) -> None:
    book = await machine.start()
    codes = [shown(NOON), shown(NOON), shown(NOON - 5), shown(NOON + 1)]
    assert details(book, *codes) == [None, SHOWN_BEFORE, WENT_BACK, None]


async def test_cards_and_forms_do_not_use_up_each_others_codes_and_paper_is_never_used_up(machine: Machine) -> None:
    book = await machine.start()
    others = [
        shown(NOON),
        shown(NOON, index=8),
        shown(NOON // 15, CardForm.TOTP),
        shown(3, CardForm.CHIP),
        shown(None, CardForm.CWT),
        shown(None, CardForm.CWT),
    ]
    assert details(book, *others) == [None] * 6


async def test_a_chip_whose_counter_goes_back_is_told_to_staff_as_a_copy(machine: Machine) -> None:
    book = await machine.start()
    first, second, third = details(book, *(shown(counter, CardForm.CHIP) for counter in (57, 41, 58)))
    assert first is third is None
    assert second == f"{CHIP_WENT_BACK} (41 after 57)"


@pytest.mark.parametrize("form", [CardForm.LIVE, CardForm.TOTP, CardForm.CHIP])
async def test_a_killed_reader_still_knows_the_code_it_took_an_instant_before(machine: Machine, form: CardForm) -> None:
    used = NOON // 15 if form is CardForm.TOTP else NOON
    book = await machine.start()
    assert book.take(shown(used, form)) is None
    machine.kill(book)
    again = await machine.start()
    # The next code is good at once: after a mere kill nobody has to wait.
    assert details(again, shown(used, form), shown(used + 1, form)) == [SHOWN_BEFORE, None]


async def test_after_a_power_cut_a_code_that_may_have_been_used_opens_nothing(machine: Machine) -> None:
    book = await machine.start()
    on_disk = (machine.folder / RING_FILE).read_bytes()
    assert book.take(shown(NOON + 9)) is None
    assert book.take(shown(NOON // 15 + 1, CardForm.TOTP)) is None
    machine.cut_power(book, after=on_disk)
    machine.now += 4
    again = await machine.start()
    doubtful = [shown(NOON + 9), shown(NOON // 15 + 1, CardForm.TOTP)]
    reasons = [refused.reason if (refused := again.take(card)) else None for card in doubtful]
    assert reasons == ["expired_code", "expired_code"]
    machine.now += 30
    assert details(again, shown(int(machine.now)), shown(int(machine.now) // 15, CardForm.TOTP)) == [None, None]


async def test_the_start_after_a_power_cut_is_told_by_the_clock_as_it_is_corrected_later(
    machine: Machine, tmp_path: Path
) -> None:
    book = await machine.start()
    machine.cut_power(book, after=(tmp_path / RING_FILE).read_bytes())
    machine.now -= 3600  # the machine came up with a clock that is an hour behind
    clock = TrustedClock(wall=lambda: int(machine.now * 1000), steady=lambda: int(machine.now * 1000), boot="b")
    clock.observe(int(machine.now * 1000), 0.0)
    again = ReplayBook(machine.journal, tmp_path, clock, boot="b")
    await again.load(ran_before=True)
    machine.now += 2
    for _ in range(2):
        clock.observe(int((machine.now + 3600) * 1000), 0.0)
    assert again.take(shown(NOON + 1)) is not None, "used a second before the power cut, as far as this reader knows"


async def test_a_reader_stopped_in_good_order_and_one_that_never_ran_keep_nobody_waiting(machine: Machine) -> None:
    book = await machine.start()
    assert book.take(shown(NOON)) is None
    await machine.stop(book)
    machine.boot = "boot-2"
    again = await machine.start()
    assert details(again, shown(NOON), shown(NOON + 1)) == [SHOWN_BEFORE, None]


async def test_chips_are_remembered_for_good_and_live_codes_only_while_a_clock_could_bring_them_back(
    machine: Machine,
) -> None:
    book = await machine.start()
    for index in range(50):
        book.take(shown(NOON, index=index))
    book.take(shown(9, CardForm.CHIP))
    await book.flush()
    assert len(book) == 51
    machine.now += KEEP_SECONDS
    await book.flush()
    assert len(book) == 1
    await machine.stop(book)
    assert len(await machine.journal.used()) == 1
    (machine.folder / RING_FILE).unlink()
    again = await machine.start()
    assert details(again, shown(9, CardForm.CHIP), shown(10, CardForm.CHIP)) == [SHOWN_BEFORE, None]


async def test_a_disk_that_fails_for_a_while_loses_no_code(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    book = await machine.start()
    book.take(shown(NOON))
    with monkeypatch.context() as patch:

        async def fails(*_: object) -> None:
            raise DatabaseFaultError(machine.folder, "as the test wants")

        patch.setattr(machine.journal, "keep_used", fails)
        with pytest.raises(DatabaseFaultError):
            await book.flush()
        book.close()
    again = await machine.start()
    assert details(again, shown(NOON)) == [SHOWN_BEFORE]


async def test_a_revoked_reader_keeps_no_trace_of_who_was_here(machine: Machine) -> None:
    book = await machine.start()
    book.take(shown(NOON))
    book.wipe()
    assert len(book) == 0
    assert not (machine.folder / RING_FILE).exists()
    assert book.take(shown(NOON + 1)) is None, "it still runs, and refers everybody to staff elsewhere"


# -- the ring --


@given(
    written=st.lists(st.tuples(st.binary(min_size=1, max_size=MAX_KEY), st.integers(0, 2**63)), max_size=12),
    damaged=st.integers(0, SLOT * 12 - 1),
    bit=st.integers(0, 7),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_ring_tells_less_and_never_anything_false(
    tmp_path: Path, written: list[tuple[bytes, int]], damaged: int, bit: int
) -> None:
    path = tmp_path / RING_FILE
    path.unlink(missing_ok=True)
    ring = Ring(path)
    assert ring.open("boot") == ({}, False)
    best: dict[bytes, int] = {}
    for key, sequence in written:
        ring.write(key, sequence)
        best[key] = max(sequence, best.get(key, 0))
    ring.close(in_good_order=False)
    again = Ring(path)
    assert again.open("boot") == (best, True)
    again.close(in_good_order=False)
    content = bytearray(path.read_bytes())
    content[damaged] ^= 1 << bit
    path.write_bytes(content)
    after = Ring(path)
    found, whole = after.open("boot")
    after.close(in_good_order=False)
    truths = set(written)
    assert all(entry in truths for entry in found.items())
    assert not (whole and damaged < HEADER_OCTETS)


def test_the_ring_keeps_the_newest_codes_and_does_not_grow(tmp_path: Path) -> None:
    ring = Ring(tmp_path / RING_FILE)
    ring.open("boot")
    for number in range(SLOTS + 10):
        ring.write(b"k%d" % number, number)
    ring.close(in_good_order=True)
    assert (tmp_path / RING_FILE).stat().st_size == SLOT * (SLOTS + 1)
    assert (tmp_path / RING_FILE).stat().st_mode & 0o077 == 0
    found, whole = Ring(tmp_path / RING_FILE).open("another boot")
    assert whole
    assert set(found) == {b"k%d" % number for number in range(10, SLOTS + 10)}


def test_a_ring_that_cannot_be_written_says_so_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = Ring(tmp_path / RING_FILE)
    ring.open("boot")

    def fails(*_: object) -> int:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", fails)
        ring.write(b"k", 1)
    assert "Input/output error" in (ring.problem or "")
    ring.write(b"k", 2)
    assert ring.problem is None


# -- at the gate --


def test_a_phone_lets_its_holder_in_and_neither_a_picture_nor_a_twin_of_its_code_anybody_after(
    opened: Open,
) -> None:
    council = Council()
    card = council.issue(in_snapshot=True, phone=generate_private_key())
    desk = opened(council)
    assert desk.judge_data(card.live(NOON)).decision.reason == "ok"
    for data, lane in ((card.live(NOON), "in-2"), (card.twin(NOON), "in-1"), (card.live(NOON - 1), "in-1")):
        judgement = desk.judge_data(data, lane)
        assert judgement.decision.reason == "replayed_code"
        assert judgement.claims is not None
        assert judgement.claims.card_id == card.claims.card_id, "staff must see whose code it was"
    desk.now += 15
    assert desk.judge_data(card.live(NOON + 15), "in-2").decision.reason == "ok"


@pytest.mark.parametrize(("made", "reason"), [(-31, "expired_code"), (-30, "ok"), (10, "ok"), (11, "expired_code")])
def test_a_screenshot_dies_within_half_a_minute_and_a_phone_clock_may_be_a_little_ahead(
    opened: Open, made: int, reason: str
) -> None:
    council = Council()
    card = council.issue(in_snapshot=True, phone=generate_private_key())
    assert opened(council).judge_data(card.live(NOON + made)).decision.reason == reason


def test_a_code_too_old_by_a_clock_that_may_be_wrong_goes_to_staff(opened: Open) -> None:
    council = Council()
    card = council.issue(in_snapshot=True, phone=generate_private_key())
    desk = opened(council)
    code = card.live(NOON)
    desk.clock.observe((NOON + 4000) * 1000, 0.0)
    decision = desk.judge_data(code).decision
    assert (decision.outcome, decision.reason) == ("refer", "clock_untrusted")


def test_a_code_from_a_picture_opens_the_way_out_and_marks_nobody_as_gone(opened: Open) -> None:
    council = Council()
    card = council.issue(in_snapshot=True, phone=generate_private_key())
    desk = opened(council)
    assert desk.judge_data(card.live(NOON)).decision.reason == "ok"
    copied = desk.gate.leaving(card.live(NOON), "qr")
    assert (copied.decision.outcome, copied.claims) == ("allow", None)
    assert SHOWN_BEFORE in (copied.detail or "")
    left = desk.gate.leaving(card.live(NOON + 1), "qr").claims
    assert left is not None
    assert left.card_id == card.claims.card_id
    assert desk.judge_data(card.live(NOON + 1)).decision.reason == "replayed_code"


def test_asking_whose_card_it_is_uses_no_code_up(opened: Open) -> None:
    council = Council()
    card = council.issue(in_snapshot=True, phone=generate_private_key())
    desk = opened(council)
    owner = desk.gate.owner(card.live(NOON), "qr")
    assert owner is not None
    assert owner.card_id == card.claims.card_id
    assert desk.judge_data(card.live(NOON)).decision.reason == "ok"


def test_a_code_is_judged_twice_and_used_up_once(opened: Open) -> None:
    council = Council()
    card = council.issue(in_snapshot=True, phone=generate_private_key())
    desk = opened(council)
    taken = desk.gate.take(card.live(NOON), "qr")
    desk.now += 40  # a PIN was typed meanwhile: the code has had its time, and was good when it was shown
    reasons = [str(desk.gate.judge_shown(taken, desk.place()).decision.reason) for _ in range(2)]
    assert reasons == ["ok", "ok"]


def test_kinds_of_presentation_are_told_by_what_was_proven(opened: Open) -> None:
    gym = council_asking("live", "chip")
    card = gym.issue(in_snapshot=True, phone=generate_private_key())
    desk = opened(gym)
    judged = [desk.judge_data(data) for data in (card.token, card.paper, card.live(NOON))]
    shown_reasons = [str(each.decision.reason) for each in judged]
    assert shown_reasons == ["presentation_not_accepted", "presentation_not_accepted", "ok"]
    assert [each.presentation for each in judged] == ["static", "static", "live"]


def council_asking(*kinds: str) -> Council:
    council = Council()
    entry = council.services[0]
    document = {**entry.document, "requires": [{"presentation": list(kinds)}]}
    council.services = [msgspec.structs.replace(entry, document=document)]
    return council
