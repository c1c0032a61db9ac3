"""What stands on the gates page, as values: from rows to words. Pure, so that every state can be tested without a gate.

The page is looked at over shoulders and on walls, so it shows no personal data: of a card its last four characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from zoneinfo import ZoneInfo

from cardservice.fleet.presence import is_online
from cardservice.web.told import CARD_CHARACTERS, Stopped, Told, tell
from entitlements.credential.encoding import b64url_encode
from entitlements.model import Decision, Instant, Outcome
from entitlements.sentences import describe

CURRENT: Final = timedelta(seconds=20)
"""A cache confirmed within four beats is current; an age in seconds would only make the page flicker."""
OFFSET_NOTE_MS: Final = 2_000
"""A clock further off than this is worth a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """A light by shape, text and colour; ``kind`` names all three."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TapLine:
    """One decision: what the person read, what staff should know."""

    key: str
    outcome: str
    mark: str
    time: str
    moment: str
    public: str
    staff: str
    service: str
    card: str
    passage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """One panel."""

    key: str
    name: str
    direction: str
    light: Light
    headline: str
    note: str
    taps: tuple[TapLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line on a reader's health; ``well`` is False where somebody should look."""

    name: str
    text: str
    well: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderHealth:
    """A reader and what is known of it."""

    key: str
    name: str
    online: bool
    well: bool
    summary: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteView:
    """A site with its lanes and readers."""

    key: str
    name: str
    council: str
    tenant: str
    readers: tuple[ReaderHealth, ...]
    lanes: tuple[LaneView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One headline number."""

    name: str
    value: str
    note: str
    well: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GatesView:
    """The whole page. ``tenant`` is empty where it shows several councils."""

    title: str
    tenant: str
    time: str
    numbers: tuple[Number, ...]
    told: tuple[Told, ...]
    sites: tuple[SiteView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What the database has, as read in one transaction."""

    councils: Sequence[Mapping[str, Any]]
    sites: Sequence[Mapping[str, Any]]
    readers: Sequence[Mapping[str, Any]]
    taps: Sequence[Mapping[str, Any]]
    counts: Sequence[Mapping[str, Any]]
    services: Sequence[Mapping[str, Any]]
    stopped: Sequence[Stopped]


def build(rows: Rows, now: datetime) -> GatesView:
    """The page of these rows at ``now`` (aware)."""
    zones = {row["tenant"]: ZoneInfo(row["timezone"]) for row in rows.councils}
    names = {row["tenant"]: row["name"] for row in rows.councils}
    titles = {row["service_id"]: row["title"] or row["service_id"] for row in rows.services}
    sites: list[SiteView] = []
    for site in rows.sites:
        place = (site["tenant"], site["site_id"])
        if site["tenant"] not in zones:
            continue
        zone = zones[site["tenant"]]
        readers = [row for row in rows.readers if (row["tenant"], row["site_id"]) == place]
        taps = [row for row in rows.taps if (row["tenant"], row["site_id"]) == place]
        lines = [(row["lane_id"], _line(row, titles, zone, now)) for row in taps]
        sites.append(
            SiteView(
                key=_key("site", *place),
                name=site["name"],
                council=names[site["tenant"]],
                tenant=site["tenant"],
                readers=tuple(_health(row, zone, now) for row in readers),
                lanes=tuple(
                    _lane(place, lane, readers, tuple(line for at, line in lines if at == lane["lane"]), zone, now)
                    for lane in site["lanes"]
                ),
            )
        )
    zone = next(iter(zones.values()), ZoneInfo("Europe/London"))
    return GatesView(
        title=next(iter(names.values())) if len(names) == 1 else "All councils",
        tenant=next(iter(names)) if len(names) == 1 else "",
        time=f"{now.astimezone(zone):%H:%M:%S}",
        numbers=_numbers(sites, rows.counts),
        told=tuple(tell(each, names[each.tenant], zones[each.tenant], now) for each in rows.stopped),
        sites=tuple(sites),
    )


def _numbers(sites: Sequence[SiteView], counts: Iterable[Mapping[str, Any]]) -> tuple[Number, ...]:
    lanes = [lane for site in sites for lane in site.lanes]
    broken = sum(lane.light.kind in ("offline", "fault") for lane in lanes)
    readers = [reader for site in sites for reader in site.readers]
    offline = sum(not reader.online for reader in readers)
    today = dict.fromkeys(Outcome, 0)
    for row in counts:
        today[Outcome(row["outcome"])] += row["taps"]
    asked = today[Outcome.REFER] + today[Outcome.CONFIRM]
    return (
        Number(
            name="Gates working",
            value=f"{len(lanes) - broken}",
            note=f"of {len(lanes)}",
            well=not broken,
        ),
        Number(name="Readers offline", value=f"{offline}", note=f"of {len(readers)}", well=not offline),
        Number(name="Allowed today", value=f"{today[Outcome.ALLOW]:,}", note="", well=True),
        Number(
            name="Refused today",
            value=f"{today[Outcome.DENY]:,}",
            note=f"and {asked:,} sent to staff" if asked else "",
            well=True,
        ),
    )


def _lane(
    place: tuple[str, str],
    lane: Mapping[str, Any],
    readers: Sequence[Mapping[str, Any]],
    taps: tuple[TapLine, ...],
    zone: ZoneInfo,
    now: datetime,
) -> LaneView:
    reader, report = _report(lane["lane"], readers)
    light, headline, note = _light(reader, report, zone, now)
    return LaneView(
        key=_key("lane", *place, lane["lane"]),
        name=lane["name"],
        direction="Exit" if lane.get("direction") == "exit" else "Entry",
        light=light,
        headline=headline,
        note=note,
        taps=taps,
    )


def _report(
    lane: str, readers: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The reader that reports this lane, and its report; readers come with the one heard of last first."""
    for reader in readers:
        for report in (reader["status"] or {}).get("lanes", ()):
            if report["lane"] == lane:
                return reader, report
    return (readers[0] if readers else None), None


def _light(
    reader: Mapping[str, Any] | None, report: Mapping[str, Any] | None, zone: ZoneInfo, now: datetime
) -> tuple[Light, str, str]:
    """Light, what the display says, and a note for staff."""
    if reader is None:
        return Light(kind="offline", text="No reader"), "", "No reader is enrolled for this site."
    if not is_online(reader["state"], reader["last_seen_at"], now):
        seen = reader["last_seen_at"]
        since = f"Not heard of since {_when(seen, zone, now)}." if seen is not None else "Never heard of."
        return Light(kind="offline", text="Offline"), "", f"{since} The gate goes on deciding by itself."
    if report is None:
        return Light(kind="offline", text="Not set up"), "", "The reader has no devices for this lane."
    if report["state"] == "fire":
        return Light(kind="fire", text="Fire: gates are open"), report["headline"], "Nobody is asked for a card."
    if not report["gate_up"]:
        return Light(kind="fault", text="Gate does not answer"), report["headline"], "Look at the gate's controller."
    if not report["source_up"]:
        return Light(kind="fault", text="Reader does not answer"), report["headline"], "Look at the card reader."
    kind, text = _LIGHTS.get(report["light"], ("off", "Ready"))
    return Light(kind=kind, text=text), report["headline"], _STATES.get(report["state"], "")


_LIGHTS: Final = {
    "green": ("allow", "Go"),
    "red": ("deny", "Stop"),
    "amber": ("refer", "Ask staff"),
    "blue": ("notice", "Look here"),
    "off": ("off", "Ready"),
}
_STATES: Final = {
    "deciding": "Deciding.",
    "asking": "Asking for a PIN.",
    "released": "Released, waiting for the person to pass.",
}
_OUTCOMES: Final = {
    "allow": ("allow", "Allowed"),
    "deny": ("deny", "Refused"),
    "refer": ("refer", "Sent to staff"),
    "confirm": ("refer", "To confirm"),
}
_PASSAGES: Final = {"passed": "passed", "timed_out": "did not pass", "fault": "gate fault"}


def _line(row: Mapping[str, Any], titles: Mapping[str, str], zone: ZoneInfo, now: datetime) -> TapLine:
    moment = row["happened_at"]
    said = describe(
        Decision(outcome=Outcome(row["outcome"]), reason=row["reason"]),
        at=Instant(int(moment.timestamp())),
        timezone=zone.key,
    )
    mark, outcome = _OUTCOMES[row["outcome"]]
    card = row["card_id"]
    return TapLine(
        key=f"tap-{row['tap_id']}",
        outcome=outcome,
        mark=mark,
        time=_when(moment, zone, now, seconds=True),
        moment=moment.astimezone(zone).isoformat(timespec="seconds"),
        public=said.public,
        staff=said.staff,
        service=titles.get(row["service_id"], row["service_id"] or ""),
        card=f"card …{b64url_encode(card).decode()[-CARD_CHARACTERS:]}" if card is not None else "",
        passage=_PASSAGES.get(row["passage_result"] or "", ""),
    )


def _health(row: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> ReaderHealth:
    seen, status = row["last_seen_at"], row["status"]
    online = is_online(row["state"], seen, now)
    facts = [
        Fact(
            name="Last heard of",
            text="just now" if online else _when(seen, zone, now) if seen is not None else "never",
            well=online,
        )
    ]
    if status is not None:
        facts += [_cache(name, status["feeds"].get(name), zone, now) for name in row["feeds"]]
        facts += [_clock(status), _outbox(status)]
    well = all(fact.well for fact in facts)
    return ReaderHealth(
        key=_key("reader", str(row["reader_id"])),
        name=row["name"],
        online=online,
        well=well,
        summary="Offline" if not online else "Well" if well else "Needs a look",
        facts=tuple(facts),
    )


def _cache(name: str, feed: Mapping[str, Any] | None, zone: ZoneInfo, now: datetime) -> Fact:
    label = f"Cache of {name}"
    if feed is None:
        return Fact(name=label, text="not loaded yet", well=False)
    cards = f"{feed['cards']:,} rows, change {feed['number']:,}"
    confirmed = datetime.fromtimestamp(max(0, min(feed["confirmed_at"], 2**41)) / 1000, zone)
    if now - confirmed <= CURRENT:
        return Fact(name=label, text=f"current: {cards}", well=True)
    return Fact(name=label, text=f"as of {_when(confirmed, zone, now)}: {cards}", well=False)


def _clock(status: Mapping[str, Any]) -> Fact:
    offset = status["clock_offset_ms"]
    if not status["clock_trusted"]:
        return Fact(name="Clock", text="not trusted", well=False)
    if abs(offset) < OFFSET_NOTE_MS:
        return Fact(name="Clock", text="right", well=True)
    side = "slow" if offset > 0 else "fast"
    minutes, seconds = divmod(round(abs(offset) / 1000), 60)
    size = f"{minutes:,} min {seconds} s" if minutes else f"{seconds} s"
    return Fact(name="Clock", text=f"{size} {side}, corrected", well=True)


def _outbox(status: Mapping[str, Any]) -> Fact:
    waiting, parked = status["outbox_waiting"], status["outbox_parked"]
    text = "empty" if not waiting else f"{waiting:,} waiting"
    return Fact(name="Outbox", text=f"{text}, {parked:,} parked" if parked else text, well=not parked)


def _when(moment: datetime, zone: ZoneInfo, now: datetime, *, seconds: bool = False) -> str:
    local = moment.astimezone(zone)
    clock = f"{local:%H:%M:%S}" if seconds else f"{local:%H:%M}"
    return clock if local.date() == now.astimezone(zone).date() else f"{local.day} {local:%b} {local:%H:%M}"


def _key(*parts: str) -> str:
    """An id for HTML that no name can break."""
    return f"{parts[0]}-{sha256(chr(31).join(parts).encode()).hexdigest()[:12]}"
