"""Two managers and what they do with a draft, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from tests.support.feed import document
from tests.support.service import Service

LIFE_SECONDS = 60.0
"""Patience for what goes on in the background, in processes of its own, on a busy machine."""
AUTHOR = "manager"
COLLEAGUE = "manager,operator"
"""Roles of another token: another person."""
GYM = "wcc.leisure.gym"
SITES = ["porchester"]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def gym(**more: Any) -> dict[str, Any]:
    """A gym for adults of Westminster, which the linter has no objection to."""
    made: dict[str, Any] = {
        "who": {"all": [{"resident_of": ["wcc"]}, {"age": {"gte": 16}}]},
        "where": {"sites": SITES},
        "when": {"windows": [{"days": list(DAYS), "from": "00:00", "until": "00:00"}]},
    }
    return document(GYM, **(made | more))


def text_of(made: Mapping[str, Any]) -> str:
    """JSON as a person writes it."""
    return json.dumps(made, indent=1)


async def act(
    service: Service, draft: str, what: str, body: Any = None, *, roles: str = AUTHOR, expect: int = 200
) -> Any:
    """One step of a draft's life."""
    status, answer = await service.call("POST", f"/v1/drafts/{draft}/{what}", body, roles=roles)
    assert status == expect, answer
    return answer


async def begin(service: Service, made: Mapping[str, Any], *, roles: str = AUTHOR) -> dict[str, Any]:
    """A draft of a document."""
    status, answer = await service.call("POST", "/v1/drafts", {"text": text_of(made)}, roles=roles)
    assert status == 201, answer
    return dict(answer)


async def approved(service: Service, made: Mapping[str, Any]) -> str:
    """The id of a draft that a second person let pass."""
    draft = str((await begin(service, made))["draft_id"])
    await act(service, draft, "submit")
    await act(service, draft, "approve", {"why": "I read it"}, roles=COLLEAGUE)
    return draft


async def published(service: Service, made: Mapping[str, Any]) -> dict[str, Any]:
    """A draft all the way into force."""
    draft = await approved(service, made)
    return dict(await act(service, draft, "publish", {"why": "opening day"}))


async def until_state(service: Service, draft: str, state: str) -> dict[str, Any]:
    """The draft once it has reached a state."""
    async with asyncio.timeout(LIFE_SECONDS):
        while True:
            status, answer = await service.call("GET", f"/v1/drafts/{draft}", roles=AUTHOR)
            assert status == 200, answer
            if answer["state"] == state:
                return dict(answer)
