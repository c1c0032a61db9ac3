"""Chips: a station asks what to write into one, the desk registers a legacy chip's number."""

from __future__ import annotations

from cardservice.api.call import Call
from cardservice.api.routing import Routes
from cardservice.cards.office import read_card_id
from cardservice.chips import office
from cardservice.chips.models import ChipRegistered, ChipRequest, ChipSetup, NumberRequest

routes = Routes(tag="cards")


@routes.add("POST", "/v1/cards/{card_id}/chip", "What to write into a chip for this card", roles=("station",))
async def prepare_chip(call: Call, body: ChipRequest) -> ChipSetup:
    """Holds the chip's keys. A chip lost is a card lost: there is nothing else to do for it."""
    setup = await office.prepare_chip(call, read_card_id(call), bytes.fromhex(body.uid))
    template = setup.template
    return ChipSetup.of(
        setup.row,
        ndef_file=_hex(template.file),
        file_settings=_hex(template.settings),
        picc_offset=template.picc_offset,
        mac_input_offset=template.mac_input_offset,
        mac_offset=template.mac_offset,
        key_version=office.KEY_VERSION,
        keys=[_hex(key) for key in setup.keys.octets],
        old_keys=None if setup.old_keys is None else [_hex(key) for key in setup.old_keys.octets],
    )


@routes.add("GET", "/v1/cards/{card_id}/chip", "Which kind of chip a card is on", roles=("desk", "auditor", "station"))
async def chip(call: Call) -> ChipRegistered:
    return ChipRegistered.of(await office.chip_of(call, read_card_id(call)))


@routes.add("POST", "/v1/cards/{card_id}/uid", "Let a legacy chip's serial number stand for a card", roles=("desk",))
async def register_number(call: Call, body: NumberRequest) -> ChipRegistered:
    """Anybody can copy such a chip: only services whose document names the presentation `uid` take it."""
    return ChipRegistered.of(await office.register_number(call, read_card_id(call), bytes.fromhex(body.uid)))


def _hex(octets: bytes) -> str:
    return octets.hex().upper()
