"""Chips at a gate, from the service to the turnstile: a real reader process, real NFC, a clone that opens nothing."""

from __future__ import annotations

import asyncio
import base64
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hardware.virtual.ntag424 import Chip
from tests.support.chips import tap
from tests.support.feed import document, publish
from tests.support.hardware import PATIENCE_SECONDS, VirtualDevice, virtual
from tests.support.reader import add_site
from tests.support.service import Service
from tests.support.state import post, resident

NUMBER, FORGED, LEGACY = "04DE5F1EACC040", "04DE5F1EACC041", "04AABBCC"
CONFIG = """
service = "{service}"
data_dir = "{folder}/data"
health_port = 0
log = "console"
beat_seconds = 1.0
[[lanes]]
lane = "1"
sources = ["nfc+udp:127.0.0.1:{nfc}{uid}"]
actuator = "modbus+tcp://127.0.0.1:{board}?coil=0&passage=0&fire=1&tamper=2&pulse_register=0"
indicator = "log:"
passage_timeout_seconds = 1.0
"""


class Site:
    """A lane with a virtual NFC field and turnstile, and the reader process that serves it."""

    def __init__(self, service: Service, field: VirtualDevice, folder: Path) -> None:
        self.service = service
        self.field = field
        self.folder = folder

    async def _get(self, path: str) -> Any:
        port = (self.folder / "data" / "health.port").read_text()
        async with self.service.http.get(f"http://127.0.0.1:{port.strip()}{path}") as response:
            return await response.json() if response.status == 200 else None

    async def until(self, condition: Any) -> Any:
        """Ask until there is an answer: a process has no event that its health page could wait for."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    answer = await condition()
                except OSError:
                    answer = None
                if answer is not None:
                    return answer
                await asyncio.sleep(0.02)

    async def ready(self) -> None:
        await self.until(lambda: self._get("/readyz"))

    async def present(self, **what: Any) -> str:
        """Hold something to the reader, take it away when the lane has decided; the reason."""

        async def decisions() -> list[str]:
            return [each["tap_id"] for each in (await self._get("/status"))["decisions"]]

        before = await decisions()

        async def decided() -> str | None:
            status = await self._get("/status")
            new = [each for each in status["decisions"] if each["tap_id"] not in before]
            idle = all(lane["state"] == "idle" for lane in status["lanes"])
            return str(new[0]["reason"]) if new and idle else None

        await self.field.do("present", **what)
        reason: str = await self.until(decided)
        await self.field.do("remove")
        return reason


@asynccontextmanager
async def site(service: Service, folder: Path, *, uid: str = "") -> AsyncIterator[Site]:
    await add_site(service)
    body = {"site": "porchester", "name": "gates", "feeds": ["wcc/leisure"]}
    code = (await post(service, "/v1/readers/codes", body))["code"]
    async with virtual("nfc_card") as field, virtual("turnstile") as board:
        await board.do("person", passes=True, after_ms=20)
        config = folder / "reader.toml"
        config.write_text(
            CONFIG.format(service=service.url, folder=folder, nfc=field.port, board=board.port, uid=uid), "utf-8"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "readers.cli", "run", "--config", str(config), "--enrol-code", code,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            made = Site(service, field, folder)
            await made.ready()
            yield made
        finally:
            process.terminate()
            await process.wait()


async def prepared(service: Service, number: str, tenant: str = "wcc") -> dict[str, Any]:
    """A resident's chip card, as a station is given it."""
    person = await resident(service, card=False, tenant=tenant)
    body = {"person_id": person["person_id"], "channel": "chip"}
    card = await post(service, "/v1/cards", body, tenant=tenant)
    path = f"/v1/cards/{card['card_id']}/chip"
    return await post(service, path, {"uid": number}, wanted=200, tenant=tenant, roles="station")


async def write(field: VirtualDevice, setup: dict[str, Any], number: str, **changes: Any) -> None:
    """What a station does with the reply."""
    parts = {"file": setup["ndef_file"], "settings": setup["file_settings"], "keys": "".join(setup["keys"])}
    await field.do("chip", uid=number, **(parts | changes))


async def test_a_chip_opens_the_gate_and_no_copy_of_what_it_said_does(service: Service, tmp_path: Path) -> None:
    await publish(service, document(requires=[{"presentation": ["chip", "live"]}]))
    setup = await prepared(service, NUMBER)
    paper = await resident(service)
    async with site(service, tmp_path) as gate:
        field = gate.field
        await write(field, setup, NUMBER)
        assert await gate.present(kind="chip", uid=NUMBER) == "ok"
        shown = bytes.fromhex((await field.event("read"))["message"])
        # The record's head is five octets, the last of which stands for http://.
        recorded = "http://" + shown[5:].decode()
        assert await gate.present(uri=recorded) == "replayed_code"
        assert await gate.present(kind="chip", uid=NUMBER) == "ok"
        # Read in passing before the chip was used, kept, and brought only now.
        skimmed = tap(
            Chip(
                uid=bytes.fromhex(NUMBER),
                file=bytes.fromhex(setup["ndef_file"]),
                settings=bytes.fromhex(setup["file_settings"]),
                keys=[bytes.fromhex(key) for key in setup["keys"]],
            )
        ).decode()
        assert skimmed != recorded
        assert await gate.present(uri=skimmed) == "replayed_code"
        # Somebody's own blank chip with our file, and the factory's keys.
        await write(field, setup, FORGED, keys=bytes(80).hex())
        assert await gate.present(kind="chip", uid=FORGED) == "bad_signature"
        # A good static card is a card, and not what this service takes.
        token = base64.b64encode(paper["token"].encode()).decode()
        assert await gate.present(payload_base64=token) == "presentation_not_accepted"
        # The neighbour's chips are good at the neighbour's.
        await write(field, await prepared(service, FORGED, "rbkc"), FORGED)
        assert await gate.present(kind="chip", uid=FORGED) == "bad_signature"
        await post(service, f"/v1/cards/{setup['card_id']}/lost", wanted=200)
        await gate.until(lambda: _applied(service, setup["card_id"]))
        assert await gate.present(kind="chip", uid=NUMBER) == "card_lost"


async def _applied(service: Service, card: str) -> bool | None:
    status, answer = await service.call("GET", f"/v1/cards/{card}/propagation")
    assert status == 200, answer
    return True if answer["effective"] == answer["gates"] else None


async def test_a_legacy_card_opens_only_what_takes_serial_numbers_and_is_marked_as_one(
    service: Service, tmp_path: Path
) -> None:
    await publish(service, document(requires=[{"presentation": ["static", "uid"]}]))
    person = await resident(service, card=False)
    card = await post(service, "/v1/cards", {"person_id": person["person_id"], "channel": "chip"})
    path = f"/v1/cards/{card['card_id']}/uid"
    await post(service, path, {"uid": LEGACY}, wanted=200, roles="desk")
    async with site(service, tmp_path, uid="?uid=yes") as gate:
        assert await gate.present(kind="memory", uid="04AABBCD") == "unknown_card"
        assert await gate.present(kind="memory", uid=LEGACY) == "ok"
        # The same number as text on a tag that anybody can write is nothing.
        assert await gate.present(uri=f"RU1:{LEGACY}") == "presentation_not_accepted"
        # From now on chips only: known by its number is not enough any more.
        await publish(service, document(requires=[{"presentation": ["static", "chip"]}]))
        await gate.until(lambda: _refused(gate))
    taps = (await service.call("GET", "/v1/taps?limit=50"))[1]["items"]
    assert {(each["media"], each["presentation"]) for each in taps if each["outcome"] == "allow"} == {
        ("nfc-uid", "uid")
    }


async def _refused(gate: Site) -> bool | None:
    return True if await gate.present(kind="memory", uid=LEGACY) == "presentation_not_accepted" else None
