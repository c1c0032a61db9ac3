"""A running reader with its doubles at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from entitlements.wire.secrets import SecretsPage
from readers.daemon import Daemon
from tests.unit.readers.kit.council import Council
from tests.unit.readers.kit.doubles import Devices, Display, Keys, Source, Turnstile
from tests.unit.readers.kit.service import FakeService
from tests.unit.readers.kit.site import ready, running, site_settings, until

LANES = ("in-1", "in-2", "out-1")


class Rig:
    """Service, daemon and devices."""

    def __init__(self, service: FakeService, daemon: Daemon, devices: Devices) -> None:
        self.service = service
        self.council = service.council
        self.daemon = daemon
        self.devices = devices

    def source(self, lane: str = "in-1") -> Source:
        return self.devices.sources[f"qr:{lane}"]

    def gate(self, lane: str = "in-1") -> Turnstile:
        return self.devices.gates[f"gate:{lane}"]

    def display(self, lane: str = "in-1") -> Display:
        return self.devices.displays[f"show:{lane}"]

    def keys(self, lane: str = "in-1") -> Keys:
        return self.devices.keypads[f"keys:{lane}"]

    def counts(self, lane: str = "in-1") -> Counter[str]:
        return next(found.counts for found in self.daemon.lanes if found.name == lane)

    async def taps(self, count: int) -> list[dict[str, Any]]:
        """The first taps that the service got, once there are so many."""
        await self.service.until(lambda: len(self.service.tap_list()) >= count)
        return self.service.tap_list()


@asynccontextmanager
async def rig(
    folder: Path,
    *,
    seed: int | None = None,
    council: Council | None = None,
    keypads: bool = False,
    secrets: SecretsPage | None = None,
) -> AsyncIterator[Rig]:
    """A reader with lanes ``in-1``, ``in-2`` and ``out-1`` that was just enrolled."""
    service = FakeService(council or Council())
    if secrets is not None:
        service.secrets = secrets
    await service.start()
    devices = Devices(seed=seed)
    try:
        async with running(site_settings(service.url, folder, LANES, keypads=keypads), devices) as daemon:
            await ready(daemon)
            await until(lambda: not any(lane.keypad_down for lane in daemon.lanes))
            if secrets is not None:
                await service.until(lambda: service.secrets_given > 0)
                await until(lambda: daemon.secrets.tag == secrets.tag)
            yield Rig(service, daemon, devices)
    finally:
        await service.stop()
