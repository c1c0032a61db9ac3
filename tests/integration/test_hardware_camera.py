"""The camera source against a virtual camera in another process."""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path

import numpy
import pytest
import qrcode
import zxingcpp
from PIL import Image

from hardware.devices import open_source
from hardware.interfaces import Down, Presented, Removed, Up
from tests.support.hardware import Heard, VirtualDevice, virtual

# As long and as varied as a signed card: header, claims and a signature of 86 characters.
CARD = b"eyJhbGciOiJFUzI1NiIsImtpZCI6IndjYy0xIn0." + b"eyJpc3MiOiJ3Y2MiLCJpbmRleCI6NDJ9" * 5 + b"." + b"Zk4-q_" * 14


def url(device: VirtualDevice) -> str:
    return f"mjpeg+http://127.0.0.1:{device.port}/stream"


def picture(octets: bytes) -> bytes:
    code = qrcode.QRCode(error_correction=qrcode.ERROR_CORRECT_M, box_size=8, border=4)
    code.add_data(octets)
    code.make()
    file = io.BytesIO()
    code.make_image().save(file, "PNG")
    return file.getvalue()


def encoded(octets: bytes) -> str:
    return base64.b64encode(picture(octets)).decode()


@pytest.mark.parametrize(
    "held",
    [
        {"tilt": 20, "blur": 1.0, "noise": 8},
        {"tilt": 30, "blur": 1.2, "noise": 10, "turn": 15, "roll": 25},
        {"tilt": -30, "blur": 0.8, "noise": 12, "roll": 180},
        {"tilt": 10, "px_per_module": 3, "blur": 0.7, "noise": 6},
    ],
    ids=["tilted 20", "tilted 30", "upside down", "far away"],
)
async def test_a_card_held_as_people_hold_cards_is_read(held: dict[str, float]) -> None:
    async with virtual("camera") as device, open_source(url(device)) as camera:
        heard = Heard(camera.events())
        assert isinstance(await heard.next(), Up)
        await device.do("show", base64=encoded(CARD), **held)
        await device.event("shown")
        seen = await heard.next()
        assert isinstance(seen, Presented)
        assert (seen.data, seen.media, seen.source) == (CARD, "qr", camera.name)


async def test_a_card_counts_once_while_it_is_held_and_again_when_it_returns() -> None:
    async with virtual("camera") as device, open_source(url(device)) as camera:
        heard = Heard(camera.events())
        await heard.first(Up)
        for _ in range(2):
            await device.do("show", base64=encoded(CARD))
            presented = await heard.next()
            assert isinstance(presented, Presented)
            # The same code held differently is still the same code.
            scenes = len(device.all("shown"))
            await device.do("show", base64=encoded(CARD), tilt=5, seed=3)
            await device.event("shown", scenes + 1)
            await device.do("clear")
            assert isinstance(await heard.next(), Removed)


async def test_a_phone_that_shows_the_next_code_is_read_at_once() -> None:
    async with virtual("camera") as device, open_source(url(device)) as camera:
        heard = Heard(camera.events())
        await heard.first(Up)
        for octets in (b"RC1:FIRST LIVE CODE", b"RC1:SECOND LIVE CODE"):
            await device.do("show", base64=encoded(octets))
            assert (await heard.first(Presented)).data == octets


async def test_codes_of_other_kinds_are_no_presentation(tmp_path: Path) -> None:
    async with virtual("camera") as device, open_source(url(device)) as camera:
        heard = Heard(camera.events())
        await heard.first(Up)
        aztec = zxingcpp.create_barcode("not ours", zxingcpp.BarcodeFormat.Aztec).to_image(scale=8)
        Image.fromarray(numpy.asarray(aztec)).save(tmp_path / "aztec.png")
        await device.do("show", png=str(tmp_path / "aztec.png"))
        await device.event("shown")
        await device.do("show", base64=encoded(CARD))
        presented = await heard.next()
        assert isinstance(presented, Presented)
        assert presented.data == CARD


async def test_a_snapshot_shows_what_the_camera_sees(tmp_path: Path) -> None:
    async with virtual("camera") as device:
        (tmp_path / "card.png").write_bytes(picture(CARD))
        await device.do("show", png=str(tmp_path / "card.png"), tilt=25)
        await device.do("snapshot", to=str(tmp_path / "seen.png"))
        with Image.open(tmp_path / "seen.png") as seen:
            assert (seen.format, seen.size) == ("PNG", (1280, 720))
            found = zxingcpp.read_barcode(seen)
        assert found is not None
        assert found.bytes == CARD


@pytest.mark.parametrize("fault", ["drop", "garbage"])
async def test_a_camera_that_fails_is_reported_and_comes_back(fault: str) -> None:
    async with virtual("camera") as device, open_source(url(device)) as camera:
        heard = Heard(camera.events())
        await heard.first(Up)
        await device.do("fault", kind=fault)
        down = await heard.next()
        assert isinstance(down, Down)
        assert down.reason
        await device.do("fault", kind="none")
        assert isinstance(await heard.next(), Up)
        await device.do("show", base64=encoded(CARD))
        assert (await heard.first(Presented)).data == CARD


async def test_a_camera_without_power_is_reported_and_found_again() -> None:
    async with virtual("camera") as device, open_source(url(device)) as camera:
        heard = Heard(camera.events())
        await heard.first(Up)
        await device.kill()
        assert isinstance(await heard.next(), Down)
        async with virtual("camera", port=device.port) as again:
            assert isinstance(await heard.next(), Up)
            await again.do("show", base64=encoded(CARD))
            assert (await heard.first(Presented)).data == CARD
    await heard.ended()


async def test_a_wrong_path_is_named_as_the_cause() -> None:
    async with virtual("camera") as device, open_source(f"mjpeg+http://127.0.0.1:{device.port}/wrong") as camera:
        heard = Heard(camera.events())
        down = await heard.next()
        assert isinstance(down, Down)
        assert "404" in down.reason


async def test_a_stream_in_chunks_without_lengths_is_read_too() -> None:
    """Some cameras send chunked coding, no Content-Length and a boundary declared with its dashes."""
    from hardware.virtual.scene import View, render

    file = io.BytesIO()
    with Image.open(io.BytesIO(picture(CARD))) as code:
        render(code, View())[0].save(file, "JPEG", quality=80)
    part = b"--cam\r\nContent-Type: image/jpeg\r\n\r\n" + file.getvalue() + b"\r\n"
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
            b'Content-Type: multipart/x-mixed-replace;boundary="--cam"\r\n\r\n'
        )
        for octets in (part, part):
            for piece in (octets[:1000], octets[1000:]):
                writer.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, open_source(f"mjpeg+http://eye:secret@127.0.0.1:{port}/video?fps=5") as camera:
        heard = Heard(camera.events())
        assert (await heard.first(Presented)).data == CARD
    assert requests[0].startswith(b"GET /video?fps=5 HTTP/1.1\r\n")
    assert b"Authorization: Basic ZXllOnNlY3JldA==\r\n" in requests[0]
