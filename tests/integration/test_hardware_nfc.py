"""The NFC source against an emulated card in another process, over nfcpy's udp driver."""

from __future__ import annotations

import base64

import ndef
import pytest

from hardware.devices import open_source
from hardware.interfaces import Presented, Removed, Unreadable, Up
from tests.support.hardware import Heard, VirtualDevice, virtual

CARD = b"eyJhbGciOiJFUzI1NiJ9." + bytes(range(33, 127)) * 4


def url(device: VirtualDevice) -> str:
    return f"nfc+udp:127.0.0.1:{device.port}"


def payload(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


async def test_a_card_laid_on_the_reader_is_read_and_missed_when_it_goes() -> None:
    async with virtual("nfc_card") as device, open_source(url(device)) as reader:
        heard = Heard(reader.events())
        assert isinstance(await heard.next(), Up)
        for octets in (CARD, CARD, b"another card"):
            await device.do("present", payload_base64=payload(octets))
            seen = await heard.next()
            assert isinstance(seen, Presented)
            assert (seen.data, seen.media, seen.source) == (octets, "nfc-ndef", reader.name)
            await device.do("remove")
            assert isinstance(await heard.next(), Removed)
    await heard.ended()


@pytest.mark.parametrize("max_le", [15, 246, 255], ids=["frugal", "usual", "chained frames"])
async def test_a_long_card_is_read_whole_whatever_the_size_of_its_answers(max_le: int) -> None:
    async with virtual("nfc_card") as device, open_source(url(device)) as reader:
        heard = Heard(reader.events())
        await heard.first(Up)
        octets = CARD * 3
        await device.do("present", payload_base64=payload(octets), max_le=max_le, uid="04112233445566")
        assert (await heard.first(Presented)).data == octets
        await device.event("read")


async def test_a_card_that_slips_while_it_is_read_is_read_all_the_same() -> None:
    async with virtual("nfc_card") as device, open_source(url(device)) as reader:
        heard = Heard(reader.events())
        await heard.first(Up)
        await device.do("present", payload_base64=payload(CARD), tear_after=5, tears=2)
        await device.event("torn", 2)
        seen = await heard.next()
        assert isinstance(seen, Presented)
        assert seen.data == CARD


async def test_a_person_is_told_of_a_card_that_cannot_be_read() -> None:
    async with virtual("nfc_card") as device, open_source(url(device)) as reader:
        heard = Heard(reader.events())
        await heard.first(Up)
        await device.do("present", payload_base64="", kind="memory")
        seen = await heard.next()
        assert isinstance(seen, Unreadable)
        assert seen.reason == "not a card of this scheme"
        await device.do("remove")
        assert isinstance(await heard.next(), Removed)
        await device.do("present", payload_base64=payload(b"hello"), mime="text/plain")
        seen = await heard.next()
        assert isinstance(seen, Unreadable)
        assert "no credential" in seen.reason


async def test_two_readers_each_see_their_own_card() -> None:
    async with (
        virtual("nfc_card") as left,
        virtual("nfc_card") as right,
        open_source(url(left)) as left_reader,
        open_source(url(right)) as right_reader,
    ):
        at_left, at_right = Heard(left_reader.events()), Heard(right_reader.events())
        await left.do("present", payload_base64=payload(b"left card"))
        await right.do("present", payload_base64=payload(b"right card"))
        assert (await at_left.first(Presented)).data == b"left card"
        assert (await at_right.first(Presented)).data == b"right card"


async def test_a_card_process_that_died_and_came_back_is_read_again() -> None:
    async with virtual("nfc_card") as device, open_source(url(device)) as reader:
        heard = Heard(reader.events())
        await heard.first(Up)
        await device.do("present", payload_base64=payload(CARD))
        await heard.first(Presented)
        await device.kill()
        assert isinstance(await heard.next(), Removed)
        async with virtual("nfc_card", port=device.port) as again:
            await again.do("present", payload_base64=payload(CARD))
            assert (await heard.first(Presented)).data == CARD


async def test_nfcpys_own_reading_agrees_with_what_the_virtual_card_holds() -> None:
    """An independent peer: nfcpy's Type 4 code and ndeflib read the emulated card."""
    import asyncio

    import nfc
    import nfc.clf
    import nfc.tag

    def read(port: int) -> list[tuple[str, bytes]]:
        with nfc.ContactlessFrontend(f"udp:127.0.0.1:{port}") as frontend:
            target = frontend.sense(nfc.clf.RemoteTarget("106A"), iterations=10)
            tag = nfc.tag.activate(frontend, target)
            return [(record.type, record.data) for record in ndef.message_decoder(tag.ndef.octets)]

    async with virtual("nfc_card") as device:
        await device.do("present", payload_base64=payload(CARD))
        records = await asyncio.to_thread(read, device.port)
        assert records == [("application/vnd.rescard+jwt", CARD)]
        await device.do("remove")
        answer = await device.raw(b'{"do": "remove"}')
        assert answer == {"event": "error", "problem": "no card is there"}
