"""Putting cards on chips. A chip's serial number comes in, is hashed, and is kept nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.cards import office as cards
from cardservice.cards.signing import card_text, claims_of
from cardservice.cards.states import FINAL, may_be_signed
from cardservice.db import queries
from cardservice.errors import ApiProblem, conflict
from cardservice.sitesecrets.masters import Kind, Master
from entitlements.credential.chip import KEY_COUNT, ChipTemplate, chip_key, chip_template
from entitlements.credential.cwt import sign_card_cwt
from entitlements.credential.errors import AddressTooLongError
from entitlements.credential.uid import names_a_chip, uid_hash
from entitlements.model import CardState

KEY_VERSION: Final = 1
"""Of every key that a council sets; the factory's have version 0, so a station sees whether a chip is new."""

ChipKind = Literal["signed", "number"]


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The five keys of one chip, from number 0, 16 bytes each."""

    octets: tuple[bytes, ...]

    @classmethod
    def of(cls, master: Master, uid: bytes) -> Keys:
        """Made from a master for the chip with this serial number."""
        return cls(tuple(chip_key(master.octets, uid, number) for number in range(KEY_COUNT)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What goes into one chip, and the row that says so. The keys show in no ``repr`` of it."""

    row: Mapping[str, Any]
    template: ChipTemplate
    keys: Keys
    old_keys: Keys | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """A card and a chip that go together: by which hash the chip is known, and what it held before."""

    card: Mapping[str, Any]
    key: Master
    uid_hash: bytes
    before: Mapping[str, Any] | None


async def prepare_chip(call: Call, card_id: bytes, uid: bytes) -> Setup:
    """Register a blank or freed chip for a card, and give what is to be written into it.

    Asked again for the same card and chip it gives the same again, for a station whose writing failed half-way. A chip
    that has been used must not be written again for the same card: its counter would begin anew, and gates remember.

    Raises:
        ApiProblem: 404; 409 where the card is not an active chip card, the card is on another chip or the chip holds a
            card that has not ended, the chip's keys are of a retired master, or no signing key is active; 422 for a
            serial number of another kind of chip.
    """
    met = await _meet(call, card_id, uid, "signed")
    newest = await call.platform.masters.newest(call.conn, call.tenant, Kind.CHIP)
    master, old = newest, None
    again = met.before is not None and bytes(met.before["card_id"]) == card_id
    if met.before is not None and met.before["kind"] == "signed":
        in_use = await call.platform.masters.in_use(call.conn, call.tenant, Kind.CHIP)
        held = next((each for each in in_use if each.secret_id == met.before["master_id"]), None)
        if held is None:
            raise conflict("chip_keys_retired", "The keys on this chip are of a retired master; take a new chip.")
        # A second try for the same card gives the same keys; whether the first got so far, their version says.
        master, old = (held, None) if again else (newest, held)
    signer = await call.platform.keys.signer(call.conn, call.tenant, "card")
    address = call.platform.settings.public_url
    try:
        template = chip_template(address, sign_card_cwt(claims_of(met.card, address), signer))
    except AddressTooLongError as error:
        raise conflict(
            "address_too_long", f"The service's public address is {error.excess} characters too long for a chip."
        ) from error
    row = await _register(call, met, "signed", master)
    await audit(call, "chip.prepared", f"card:{card_text(card_id)}", master=str(master.secret_id), again=again)
    return Setup(
        row={**row, "expires_at": met.card["expires_at"]},
        template=template,
        keys=Keys.of(master, uid),
        old_keys=None if old is None else Keys.of(old, uid),
    )


async def register_number(call: Call, card_id: bytes, uid: bytes) -> Mapping[str, Any]:
    """Let a card be known by the serial number of a legacy chip.

    Raises:
        ApiProblem: as :func:`prepare_chip`.
    """
    row = await _register(call, await _meet(call, card_id, uid, "number"), "number", None)
    await queries().secrets.changed(call.conn, tenant=call.tenant, kind=Kind.UID.value)
    call.after_commit.append(call.platform.site_secrets.wake)
    await audit(call, "chip.number_registered", f"card:{card_text(card_id)}")
    return row


async def chip_of(call: Call, card_id: bytes) -> Mapping[str, Any]:
    """Which kind of chip a card is on, and since when.

    Raises:
        ApiProblem: 404 for an unknown card; 404 ``chip_not_found`` for one that is on none.
    """
    await cards.find_card(call, card_id)
    row = await queries().chips.of_card(call.conn, tenant=call.tenant, card_id=card_id)
    if row is None:
        raise ApiProblem(404, "chip_not_found", "This card is on no chip.")
    return {**row, "card_id": card_text(card_id)}


async def _meet(call: Call, card_id: bytes, uid: bytes, kind: ChipKind) -> Meeting:
    """See that card and chip go together. The tenant's row is locked from here on."""
    if not names_a_chip(uid):
        problem = {"at": "/uid", "problem": "it is random or shared by many chips, so it names none"}
        raise ApiProblem(422, "wrong_values", "This serial number cannot stand for a card.", fields=[problem])
    await queries().feed.lock_tenant(call.conn, tenant=call.tenant)
    card = await cards.find_card(call, card_id)
    state = cards.state_now(card, call.now)
    if not may_be_signed(state):
        raise ApiProblem(
            409, "card_state", f"The card is {state}: only an active card goes on a chip.", extra={"state": state}
        )
    if card["channel"] != "chip":
        raise conflict("card_channel", f"The card was issued for channel {card['channel']}, not for a chip.")
    newest = await call.platform.masters.newest(call.conn, call.tenant, Kind.UID)
    keys = await call.platform.masters.in_use(call.conn, call.tenant, Kind.UID)
    hashes = {uid_hash(key.octets, uid): key for key in keys}
    own = await queries().chips.of_card(call.conn, tenant=call.tenant, card_id=card_id)
    if own is not None and (own["kind"] != kind or bytes(own["uid_hash"]) not in hashes):
        raise conflict("card_has_chip", "This card is on another chip already; replace the card to move it.")
    before = await queries().chips.by_number(call.conn, tenant=call.tenant, uid_hashes=list(hashes))
    if before is None:
        return Meeting(card=card, key=newest, uid_hash=uid_hash(newest.octets, uid), before=None)
    if bytes(before["card_id"]) != card_id:
        held = cards.state_now(before, call.now)
        # A lost card never comes back to life, though it is not over before it is replaced.
        if held not in FINAL and held is not CardState.LOST:
            raise conflict("chip_taken", "This chip holds a card that has not ended.")
    known = bytes(before["uid_hash"])
    return Meeting(card=card, key=hashes[known], uid_hash=known, before=before)


async def _register(call: Call, met: Meeting, kind: ChipKind, master: Master | None) -> Mapping[str, Any]:
    card_id = bytes(met.card["card_id"])
    row = await queries().chips.put(
        call.conn,
        tenant=call.tenant,
        uid_hash=met.uid_hash,
        uid_secret_id=met.key.secret_id,
        card_id=card_id,
        kind=kind,
        master_id=None if master is None else master.secret_id,
        now=call.now,
    )
    return {**row, "card_id": card_text(card_id)}
