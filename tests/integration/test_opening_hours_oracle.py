"""Opening hours against an independent judge: the npm package ``opening_hours`` (OpenStreetMap's grammar).

Every minute of both nights on which the clocks change, and every quarter of an hour of the year. The judge's rules are
written out by hand beside ours, never derived from them.

The judge answers twice: its state at an instant, and the open intervals it walks through. In the hours after a clock
change it is of two minds: asked for its state it reads the wall clock, as we do, but takes the day before to have had
24 hours (so that a Saturday night's tail comes again on the Monday after, for as long as the clocks moved); walking, it
counts a window's edge within the changed hour once. There our answer must be one of its two; everywhere else it must be
its only one. What still differs is listed to the minute where it stands: how far a closed day reaches, which days are
bank holidays when Christmas falls on a weekend, and that same fault once in both its answers.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from entitlements.compile import CompiledService, compile_service
from entitlements.documents import parse_services
from entitlements.model import Instant
from entitlements.world import parse_world

ORACLES = Path(__file__).parents[1] / "oracles"
YEAR = 2027
QUARTER = 900
MINUTE = 60
INSTALL_SECONDS = 180
"""How long npm may take for three small packages before the registry counts as out of reach."""

ENGLAND_2027 = (
    "2027-01-01", "2027-03-26", "2027-03-29", "2027-05-03", "2027-05-31", "2027-08-30", "2027-12-27", "2027-12-28",
)  # fmt: skip
"""Bank holidays as GOV.UK lists them, the substitutes for Christmas and Boxing Day included."""
WEEK = ["mon", "tue", "wed", "thu", "fri"]


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Ours, the judge's, and the spans ``[from, until)`` in UTC in which they are known to differ."""

    when: dict[str, Any]
    rules: str
    valid: dict[str, str] = field(default_factory=dict)
    zone: str = "Europe/London"
    country: str | None = None
    differ: tuple[tuple[str, str], ...] = ()


def window(start: str, until: str, *days: str, holidays: str = "include") -> dict[str, Any]:
    return {"from": start, "until": until, "holidays": holidays, **({"days": list(days)} if days else {})}


SETS = {
    "a day and a weekend, weekdays not on holidays": Hours(
        when={"windows": [window("09:00", "16:00", *WEEK, holidays="exclude"), window("12:00", "18:00", "sat", "sun")]},
        rules="Mo-Fr 09:00-16:00; 2027 Jan 01 off; 2027 Mar 26 off; 2027 Mar 29 off; 2027 May 03 off; 2027 May 31 off;"
        " 2027 Aug 30 off; 2027 Dec 27 off; 2027 Dec 28 off, Sa,Su 12:00-18:00",
    ),
    "the same holidays from the judge's own calendar": Hours(
        when={"windows": [window("09:00", "16:00", *WEEK, holidays="exclude")]},
        rules="Mo-Fr 09:00-16:00; PH off",
        country="gb",
    ),
    "holidays only": Hours(
        when={"windows": [window("10:00", "14:00", holidays="only")]},
        rules="PH 10:00-14:00",
        country="gb",
        # GOV.UK lists the substitute days alone; the judge takes Christmas and Boxing Day themselves as well.
        differ=(("2027-12-25T10:00", "2027-12-25T14:00"), ("2027-12-26T10:00", "2027-12-26T14:00")),
    ),
    "mornings and evenings, closed at Christmas": Hours(
        when={
            "windows": [window("07:00", "09:45", *WEEK, "sat"), window("19:15", "22:00", "mon", "tue", "wed", "thu")],
            "closed": ["2027-12-25", "2027-12-27"],
        },
        rules="Mo-Sa 07:00-09:45, Mo-Th 19:15-22:00; 2027 Dec 25 off; 2027 Dec 27 off",
    ),
    "Saturday nights over both clock changes": Hours(
        when={"windows": [window("22:00", "06:00", "sat")]}, rules="Sa 22:00-06:00"
    ),
    "Saturday nights within service dates": Hours(
        when={"windows": [window("22:00", "06:00", "sat")]},
        valid={"from": "2027-03-27", "until": "2027-10-30"},
        rules="2027 Mar 27-2027 Oct 30 Sa 22:00-06:00",
    ),
    "every night, and a closed day": Hours(
        when={"windows": [window("22:00", "06:00")], "closed": ["2027-05-15"]},
        rules="Mo-Su 22:00-06:00; 2027 May 15 off",
        # To the judge a closed day is one of the calendar. To us (entitlements.md) it is the day a window starts on:
        # the night of Friday 14 May runs on into the closed Saturday, whose own night does not take place.
        differ=(("2027-05-14T23:00", "2027-05-15T05:00"), ("2027-05-15T23:00", "2027-05-16T05:00")),
    ),
    "whole days": Hours(when={"windows": [window("00:00", "24:00", "mon", "sun")]}, rules="Mo,Su 00:00-24:00"),
    "over midnight by half an hour": Hours(
        when={"windows": [window("23:30", "00:30", "sat", "sun")]}, rules="Sa,Su 23:30-00:30"
    ),
    "up to the gap": Hours(when={"windows": [window("23:00", "01:00", "sat")]}, rules="Sa 23:00-01:00"),
    "after the gap": Hours(when={"windows": [window("02:00", "03:00", "sun")]}, rules="Su 02:00-03:00"),
    "exactly the hour that is skipped and repeated": Hours(
        when={"windows": [window("01:00", "02:00", "sun")]}, rules="Su 01:00-02:00"
    ),
    "an end within the changed hour": Hours(
        when={"windows": [window("00:30", "01:30", "sun")]},
        rules="Su 00:30-01:30",
    ),
    "a start within the changed hour": Hours(
        when={"windows": [window("01:30", "03:00", "sun")]},
        rules="Su 01:30-03:00",
    ),
    "nights in New York": Hours(
        when={"windows": [window("22:00", "06:00", "sat")]}, rules="Sa 22:00-06:00", zone="America/New_York"
    ),
    "nights on Lord Howe Island, where clocks move by half an hour": Hours(
        when={"windows": [window("22:00", "06:00", "sat"), window("09:00", "17:00", *WEEK)]},
        rules="Sa 22:00-06:00, Mo-Fr 09:00-17:00",
        zone="Australia/Lord_Howe",
        # A fault of the judge, here in both its answers: the tail of Saturday night comes again on Monday, because the
        # Sunday between had half an hour less than the 24 that are counted back.
        differ=(("2027-10-03T13:00", "2027-10-03T13:30"),),
    ),
}


def service(hours: Hours) -> CompiledService:
    world = parse_world(
        {
            "schema": "rescard.world/1",
            "tenants": {"wcc": {"timezone": hours.zone}},
            "calendars": {"@uk-bank-holidays": list(ENGLAND_2027)},
        }
    )
    value = {
        "schema": "rescard.service/1",
        "id": "wcc.leisure.any",
        "tenant": "wcc",
        "kind": "access",
        "title": "Any",
        "valid": hours.valid,
        "when": hours.when,
    }
    return compile_service(parse_services(value)[0], world)


def change_days(zone: str) -> list[date]:
    """The two local days of the year on which the clocks change."""
    days = [date(YEAR, 1, 1) + timedelta(days=number) for number in range(365)]
    found = [day for day in days if _noon(day, zone) - _noon(day - timedelta(days=1), zone) != 86_400]
    assert len(found) == 2
    return found


def instants(zone: str) -> list[int]:
    """Quarters of the year, and minutes from noon to noon round both clock changes."""
    first = int(datetime(YEAR, 1, 1, tzinfo=UTC).timestamp())
    last = int(datetime(YEAR + 1, 1, 1, tzinfo=UTC).timestamp())
    found = set(range(first, last, QUARTER))
    for day in change_days(zone):
        found.update(range(_noon(day - timedelta(days=1), zone), _noon(day, zone), MINUTE))
    return sorted(found)


def after_changes(zone: str) -> list[tuple[int, int]]:
    """The hours in which the judge may be of two minds: from the change to noon of the day after."""
    return [(_noon(day - timedelta(days=1), zone), _noon(day + timedelta(days=1), zone)) for day in change_days(zone)]


def _noon(day: date, zone: str) -> int:
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)).timestamp())


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the judge installed; skips where it cannot be had."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not on this machine: the independent judge of opening hours is an npm package")
    folder = tmp_path_factory.mktemp("oracles")
    for name in ("package.json", "package-lock.json", "opening_hours.cjs"):
        shutil.copy(ORACLES / name, folder)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline", "--fetch-retries=0"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not answer within {INSTALL_SECONDS} seconds: the package opening_hours cannot be had")
    if done.returncode != 0:
        told = next((line for line in done.stderr.splitlines() if "error" in line.lower()), "npm ci failed")
        pytest.skip(f"npm could not get the package opening_hours: {told}")
    return folder


def judged(folder: Path, hours: Hours, at: list[int]) -> tuple[str, str]:
    """The judge's states and the judge's walk."""
    asked = [{"rules": hours.rules, "country": hours.country, "instants": at}]
    done = subprocess.run(
        ["node", "opening_hours.cjs"],
        cwd=folder,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TZ": hours.zone},
    )
    ((states, walked),) = json.loads(done.stdout)
    return states, walked


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize("name", SETS)
def test_a_gate_opens_and_closes_when_an_independent_judge_says_so(judge: Path, name: str) -> None:
    hours = SETS[name]
    at = instants(hours.zone)
    compiled = service(hours)
    ours = "".join("1" if compiled.is_open(Instant(second)) else "0" for second in at)
    states, walked = judged(judge, hours, at)
    assert set(states) == set(walked) == {"0", "1"}
    spans = [(_seconds(start), _seconds(until)) for start, until in hours.differ]
    expected = {second for second in at if any(start <= second < until for start, until in spans)}
    found = {
        second for second, mine, state, walk in zip(at, ours, states, walked, strict=True) if mine not in (state, walk)
    }
    assert {_told(second) for second in found - expected} == set()  # nothing differs but what is listed
    assert {_told(second) for second in expected - found} == set()  # and all that is listed does
    unsure = {second for second, state, walk in zip(at, states, walked, strict=True) if state != walk}
    near = after_changes(hours.zone)
    assert {_told(second) for second in unsure if not any(low <= second < high for low, high in near)} == set()


def _told(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()
