"""A chip with a message of its own, and legacy cards known by their number, over nfcpy's udp driver."""

from __future__ import annotations

import asyncio

import nfc
import nfc.clf
import nfc.tag
import pytest

from hardware.devices import open_source
from hardware.errors import BadDeviceParameterError
from hardware.interfaces import Presented, Removed, Unreadable, Up
from tests.support.hardware import Heard, VirtualDevice, virtual
from tests.unit.test_hardware_ntag424 import FILE, SETTINGS

NUMBER = "04DE5F1EACC040"


def url(device: VirtualDevice, *, uid: bool = False) -> str:
    return f"nfc+udp:127.0.0.1:{device.port}" + ("?uid=yes" if uid else "")


async def write_chip(device: VirtualDevice, *, counter: int = 0) -> None:
    await device.do(
        "chip", uid=NUMBER, file=FILE.hex(), settings=SETTINGS.hex(), keys=bytes(16 * 5).hex(), counter=counter
    )


async def test_a_chip_says_something_new_each_time_it_is_held_to_the_reader() -> None:
    async with virtual("nfc_card") as device, open_source(url(device)) as reader:
        heard = Heard(reader.events())
        await heard.first(Up)
        await write_chip(device)
        links = []
        for turn, torn in ((1, 0), (2, 1)):
            # A torn reading is used up; the card is read again, and that reading counts.
            await device.do("present", kind="chip", uid=NUMBER, tear_after=5, tears=torn)
            seen = await heard.first(Presented)
            assert seen.media == "nfc-ndef"
            # The message begins with its record's head of five octets, the last of which stands for https://.
            assert seen.data == b"https://" + bytes.fromhex((await device.event("read", turn))["message"])[5:]
            links.append(seen.data)
            await device.do("remove")
            await heard.first(Removed)
        assert len(set(links)) == 2
        await device.event("torn")


async def test_a_chip_whose_counter_is_at_its_end_is_told_as_unreadable() -> None:
    async with virtual("nfc_card") as device, open_source(url(device)) as reader:
        heard = Heard(reader.events())
        await heard.first(Up)
        await write_chip(device, counter=2**24 - 1)
        await device.do("present", kind="chip", uid=NUMBER)
        assert "6982" in (await heard.first(Unreadable)).reason


async def test_nfcpys_own_reading_of_the_chip_agrees() -> None:
    """An independent peer: its Type 4 code finds the same message that the chip says it showed."""

    def read(port: int) -> bytes:
        with nfc.ContactlessFrontend(f"udp:127.0.0.1:{port}") as frontend:
            target = frontend.sense(nfc.clf.RemoteTarget("106A"), iterations=10)
            return bytes(nfc.tag.activate(frontend, target).ndef.octets)

    async with virtual("nfc_card") as device:
        await write_chip(device)
        await device.do("present", kind="chip", uid=NUMBER)
        message = await asyncio.to_thread(read, device.port)
        assert message == bytes.fromhex((await device.event("read"))["message"])
        assert message[5:].startswith(b"choose.url.com")


async def test_a_legacy_card_is_known_by_its_number_only_where_the_lane_says_so() -> None:
    async with virtual("nfc_card") as device, open_source(url(device, uid=True)) as reader:
        heard = Heard(reader.events())
        await heard.first(Up)
        await device.do("present", kind="memory", uid="04AABBCCDDEEFF")
        seen = await heard.next()
        assert isinstance(seen, Presented)
        assert (seen.data, seen.media) == (b"RU1:04AABBCCDDEEFF", "nfc-uid")
        # One card after the other, as fast as a queue moves: the next one is not taken for the last.
        await device.do("remove")
        await device.do("present", kind="memory", uid="04AABBCC")
        assert isinstance(await heard.next(), Removed)
        assert (await heard.first(Presented)).data == b"RU1:04AABBCC"
        await device.do("remove")
        assert isinstance(await heard.next(), Removed)
        # Random numbers name nobody, and a card that holds something better is read.
        await device.do("present", kind="memory", uid="08A1B2C3")
        assert isinstance(await heard.next(), Unreadable)
        await device.do("remove")
        assert isinstance(await heard.next(), Removed)
        await device.do("present", uri="https://example.org/card", uid="04AABBCC")
        assert (await heard.first(Presented)).data == b"https://example.org/card"


async def test_a_chip_that_was_never_set_up_cannot_be_presented() -> None:
    async with virtual("nfc_card") as device:
        answer = await device.raw(b'{"do": "present", "kind": "chip", "uid": "04DE5F1EACC040"}')
        assert answer == {"event": "error", "problem": "no chip of this uid was set up"}
        answer = await device.raw(b'{"do": "chip", "uid": "04", "file": "", "settings": "", "keys": ""}')
        assert answer["event"] == "error"


@pytest.mark.parametrize("query", ["?", "?uid=no", "?uid=yes&uid=yes", "?colour=1"])
def test_a_wrong_query_of_a_reader_is_named(query: str) -> None:
    with pytest.raises(BadDeviceParameterError) as caught:
        open_source(f"nfc+udp:127.0.0.1:5000{query}")
    assert caught.value.parameter == "query"
