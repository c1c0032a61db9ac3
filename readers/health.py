"""Health, metrics and status on the loopback address only: no password is needed, nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from readers.clock import TrustedClock
from readers.feed import Feed
from readers.files import write_whole
from readers.lane import Lane
from readers.outbox import Outbox
from readers.replay import ReplayBook
from readers.secrets import SecretsKeeper
from readers.settings import LOOPBACK
from readers.status import StatusReporter

PORT_FILE: Final = "health.port"
"""In the data folder: the port, for ``cardreader status`` where the setting lets the system choose."""


class Health:
    """What the daemon knows of itself, and the HTTP server that tells it."""

    def __init__(
        self,
        *,
        folder: Path,
        port: int,
        feeds: Mapping[str, Feed],
        lanes: Sequence[Lane],
        clock: TrustedClock,
        outbox: Outbox,
        status: StatusReporter,
        replay: ReplayBook,
        secrets: SecretsKeeper,
    ) -> None:
        self._folder = folder
        self._wanted_port = port
        self._feeds = feeds
        self._lanes = lanes
        self._clock = clock
        self._outbox = outbox
        self._status = status
        self._replay = replay
        self._secrets = secrets
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.revoked = False
        self._registry = CollectorRegistry()
        self._registry.register(_ReaderCollector(self))

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                web.get("/status", self._show),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, LOOPBACK, self._wanted_port)
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        write_whole(self._folder / PORT_FILE, [f"{self.port}\n".encode()])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        (self._folder / PORT_FILE).unlink(missing_ok=True)

    def problems(self) -> list[str]:
        """Everything that a person should look at, in plain words; empty if all is well."""
        found = []
        if self.revoked:
            found.append("this reader was revoked: all visitors are referred to staff")
        if self._clock.problem is not None:
            found.append(f"the clock is not trusted: {self._clock.problem}")
        found += [problem for problem in (self._outbox.problem, self._replay.problem, self._secrets.problem) if problem]
        if self._outbox.parked:
            found.append(
                f"{self._outbox.parked} taps were rejected by the service and are parked: see 'cardreader parked'"
            )
        for feed in self._feeds.values():
            if feed.problem is not None:
                found.append(f"feed {feed.name}: {feed.problem}")
            found.extend(f"feed {feed.name}: {name}: {why}" for name, why in feed.catalogue.problems.items())
        for lane in self._lanes:
            status = lane.status()
            if not status.gate_up:
                found.append(f"lane {lane.name}: the gate does not answer")
            if lane.keypad_down:
                found.append(f"lane {lane.name}: the keypad does not answer")
            if not status.source_up:
                found.append(f"lane {lane.name}: no source works")
        return found

    def not_ready(self) -> list[str]:
        """Why this reader cannot decide yet; empty if it can."""
        found = [f"feed {feed.name} has no data" for feed in self._feeds.values() if feed.cache is None]
        found += [f"lane {lane.name} is not assigned" for lane in self._lanes if lane.place is None]
        if not self._feeds:
            found.append("no feed is assigned")
        return found

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        waiting = self.not_ready()
        return web.json_response(
            {"status": "waiting" if waiting else "ready", "waiting_for": waiting}, status=503 if waiting else 200
        )

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), content_type="text/plain", charset="utf-8")

    async def _show(self, _request: web.Request) -> web.Response:
        body: dict[str, Any] = msgspec.to_builtins(self._status.build())
        body["ready"] = not self.not_ready()
        body["streaming"] = self._status.streaming
        body["waiting_for"] = self.not_ready()
        body["problems"] = self.problems()
        body["presenting"] = [lane.name for lane in self._lanes if lane.presenting]
        decisions = [decision for lane in self._lanes for decision in lane.recent]
        body["decisions"] = sorted(decisions, key=lambda decision: str(decision["tap_id"]), reverse=True)
        body["outbox_in_memory"] = self._outbox.in_memory
        body["outbox_lost"] = self._outbox.lost
        for name, feed in self._feeds.items():
            if name in body["feeds"]:
                body["feeds"][name] |= {"age_seconds": feed.age_seconds(), "online": feed.online}
        return web.json_response(body)


class _ReaderCollector(Collector):
    """Reads the daemon's own counts when asked, so that the gate pays nothing for being watched."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        health = self._health
        events = CounterMetricFamily(
            "rescard_reader_lane_events", "Decisions, passages and alarms.", labels=["lane", "event"]
        )
        devices = GaugeMetricFamily("rescard_reader_device_up", "1 if the device works.", labels=["lane", "device"])
        for lane in health._lanes:
            for event, count in lane.counts.items():
                events.add_metric([lane.name, event], count)
            status = lane.status()
            devices.add_metric([lane.name, "gate"], status.gate_up)
            devices.add_metric([lane.name, "source"], status.source_up)
        yield events
        yield devices
        number = GaugeMetricFamily("rescard_reader_feed_number", "Last change applied.", labels=["feed"])
        age = GaugeMetricFamily("rescard_reader_feed_age_seconds", "Seconds since confirmed.", labels=["feed"])
        for feed in health._feeds.values():
            number.add_metric([feed.name], -1 if feed.cache is None else feed.cache.number)
            age.add_metric([feed.name], feed.age_seconds())
        yield number
        yield age
        outbox, clock = health._outbox, health._clock
        for name, text, value in (
            ("outbox_waiting", "Taps the service does not have yet.", outbox.waiting),
            ("outbox_in_memory", "Taps that are not on disk yet.", outbox.in_memory),
            ("outbox_parked", "Taps the service rejected.", outbox.parked),
            ("outbox_lost", "Taps not kept because disk and memory were full.", outbox.lost),
            ("clock_offset_seconds", "Corrected time minus the wall clock.", clock.offset_ms / 1000),
            ("clock_trusted", "1 if decisions may rely on the time.", clock.trusted),
            ("problems", "Things a person should look at.", len(health.problems())),
        ):
            yield GaugeMetricFamily(f"rescard_reader_{name}", text, value=value)
