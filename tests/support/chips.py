"""Chips for tests: the virtual NTAG 424 DNA, personalised as the service says, and read as a gate's reader reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from entitlements.credential import CardClaims, Channel, SigningKey, sign_card_cwt
from entitlements.credential.chip import KEY_COUNT, chip_key, chip_template
from hardware.nfc.type4 import Type4Ndef
from hardware.virtual.ntag424 import Chip, Ntag424Applet
from tests.support.cards import KEY, card_claims

ADDRESS = "https://cards.wcc.example"
MASTER = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
OLD_MASTER = bytes.fromhex("FFEEDDCCBBAA99887766554433221100")
UID = bytes.fromhex("04DE5F1EACC040")


def chip_claims(**changes: Any) -> CardClaims:
    """Claims of an honest chip card."""
    return card_claims(**({"status_uri": None, "channel": Channel.CHIP} | changes))


def make_chip(
    claims: CardClaims | None = None,
    *,
    key: SigningKey = KEY,
    master: bytes = MASTER,
    uid: bytes = UID,
    address: str = ADDRESS,
    counter: int = 0,
    padding: Callable[[int], bytes] = os.urandom,
) -> Chip:
    """A chip as a personalisation station leaves it."""
    template = chip_template(address, sign_card_cwt(claims or chip_claims(), key))
    keys = [chip_key(master, uid, number) for number in range(KEY_COUNT)]
    return Chip(uid=uid, file=template.file, settings=template.settings, keys=keys, counter=counter, padding=padding)


def tap(chip: Chip) -> bytes:
    """Hold the chip to a reader: a new activation, the whole dialogue, the octets of the link."""
    link = Type4Ndef().probe(Ntag424Applet(chip).answer, float("inf"))
    assert link is not None
    return link
