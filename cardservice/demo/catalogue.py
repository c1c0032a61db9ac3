"""The demonstration's places and services. Opening hours are made to fit the moment it runs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

TENANTS: Final = {
    "wcc": "Westminster City Council",
    "rbkc": "Royal Borough of Kensington and Chelsea",
}
ZONE: Final = ZoneInfo("Europe/London")
AREAS: Final = ("leisure", "libraries")
LEISURE_SITE: Final = "porchester"
LIBRARY_SITE: Final = "pimlico-lib"
LEISURE_LANE: Final = "turnstile-1"
LIBRARY_LANE: Final = "front-door"
EV_LANE: Final = "ev-bay-1"
HUB_LANE: Final = "hub-room-1"
LIBRARY_SERVICE: Final = "wcc.libraries.visit"
DAYS: Final = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

LISTS: Final = {
    "site_set": {"@wcc-leisure": [LEISURE_SITE], "@bi-libraries": [LIBRARY_SITE], "@wcc-ev": [LEISURE_SITE]},
    "calendar": {"@uk-bank-holidays": ["2026-12-25", "2026-12-28", "2027-01-01", "2027-03-26", "2027-03-29"]},
}

SITES: Final = {
    LEISURE_SITE: {
        "name": "Porchester Leisure Centre",
        "lanes": [
            {
                "lane": LEISURE_LANE,
                "name": "Turnstile 1",
                "zone": "hall",
                "direction": "entry",
                "areas": ["leisure"],
                "services": None,
            },
            {
                "lane": EV_LANE,
                "name": "EV bay 1, car park",
                "zone": None,
                "direction": "entry",
                "areas": ["ev"],
                "services": None,
            },
        ],
    },
    LIBRARY_SITE: {
        "name": "Pimlico Library",
        "lanes": [
            {
                "lane": LIBRARY_LANE,
                "name": "Front door",
                "zone": "door",
                "direction": "entry",
                "areas": ["libraries"],
                "services": None,
            },
            {
                "lane": HUB_LANE,
                "name": "Innovation hub, room 1",
                "zone": "room-1",
                "direction": "entry",
                "areas": ["hub"],
                "services": None,
            },
        ],
    },
}

LEISURE_DOCUMENT: Final[dict[str, Any]] = {
    "schema": "rescard.service/1",
    "id": "wcc.leisure.swim-and-gym",
    "tenant": "wcc",
    "kind": "access",
    "title": "Swim and gym",
    "who": {"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 16}}]},
    "where": {"sites": ["@wcc-leisure"], "zones": ["hall"]},
    "when": {"windows": [{"days": DAYS, "from": "00:00", "until": "00:00"}]},
    "presence": {"anti_passback": "person", "reset": "local_midnight"},
    "price": [
        {"band": "senior", "when": {"age": {"gte": 60}}, "pence": 0},
        {
            "band": "concession",
            "when": {"any": [{"evidence": "universal_credit"}, {"evidence": "disability"}]},
            "pence": 290,
        },
        {"band": "standard", "when": True, "pence": 580},
    ],
    "offline": {"max_stale": "PT72H"},
}


def library_document(opens: datetime, hours: int) -> dict[str, Any]:
    """The library service, open every day for ``hours`` from the local time of ``opens``."""
    start = opens.astimezone(ZONE)
    window = {"days": DAYS, "from": f"{start:%H:%M}", "until": f"{start + timedelta(hours=hours):%H:%M}"}
    return {
        "schema": "rescard.service/1",
        "id": LIBRARY_SERVICE,
        "tenant": "wcc",
        "kind": "access",
        "title": "Library visits",
        "who": {"all": [{"member_of": "library"}, {"resident_of": ["wcc", "rbkc"]}]},
        "where": {"sites": ["@bi-libraries"], "zones": ["door"]},
        "when": {"windows": [window]},
        "offline": {"max_stale": "PT72H"},
    }


def open_now(now: datetime) -> dict[str, Any]:
    """Open from two hours ago for twelve hours."""
    return library_document(now - timedelta(hours=2), 12)


def closed_now(now: datetime) -> dict[str, Any]:
    """Opens in three hours, for six."""
    return library_document(now + timedelta(hours=3), 6)
