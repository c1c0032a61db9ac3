"""What a council calls things, and which facts somebody supplies: for the linter and for the read-back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, cast

from cardservice.api.call import Call
from cardservice.api.server import audit
from cardservice.catalogue.loading import load_catalogue
from cardservice.db import Connection, queries
from cardservice.errors import not_found
from entitlements.lint import KnownFacts
from entitlements.world import World

FACT_KINDS: Final = ("evidence", "member_of", "permit", "role", "linked")
KINDS: Final = (*FACT_KINDS, "prerequisite", "upstream", "word")
EVERY: Final = 10_000
"""Names of a vocabulary read at once; more than any council has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """What a document of this council may name, and how it is said."""

    tenant: str
    world: World
    known: KnownFacts
    titles: Mapping[str, str]
    today: date
    """The council's local day."""


async def load_vocabulary(conn: Connection, tenant: str, now: datetime) -> Vocabulary:
    """The world and the words of a council. A fact that was ever recorded counts as supplied."""
    catalogue = await load_catalogue(conn, tenant)
    ask = queries().life
    names: dict[str, set[str]] = {kind: set() for kind in KINDS}
    titles: dict[str, str] = {tenant: str(await ask.own_name(conn, tenant=tenant))}
    async for row in ask.place_titles(conn, tenant=tenant):
        titles[row["name"]] = row["title"]
    async for row in ask.recorded_facts(conn, tenant=tenant):
        if row["kind"] in names:
            names[row["kind"]].add(row["name"])
    async for row in ask.words(conn, tenant=tenant, after_kind=None, after_name=None, limit=EVERY):
        names[row["kind"]].add(row["name"])
        titles[row["name"]] = row["title"]
    known = KnownFacts(
        **{kind: frozenset(names[kind]) for kind in FACT_KINDS},
        prerequisites=frozenset(names["prerequisite"]),
        upstreams=frozenset(names["upstream"]),
    )
    return Vocabulary(tenant=tenant, world=catalogue.world, known=known, titles=titles, today=catalogue.today(now))


async def put_word(call: Call, kind: str, name: str, *, title: str, supplied_by: str | None) -> Mapping[str, Any]:
    """Say what something is called, and who supplies it.

    Raises:
        ApiProblem: 404 for a kind that does not exist.
    """
    _kind(kind)
    row = await queries().life.put_word(
        call.conn, tenant=call.tenant, kind=kind, name=name, title=title, supplied_by=supplied_by, now=call.now
    )
    await audit(call, "vocabulary.changed", f"{kind}/{name}", title=title, supplied_by=supplied_by)
    return cast("Mapping[str, Any]", row)


async def remove_word(call: Call, kind: str, name: str) -> None:
    """Take a name out: from then on the linter says that nobody supplies it.

    Raises:
        ApiProblem: 404.
    """
    _kind(kind)
    if await queries().life.remove_word(call.conn, tenant=call.tenant, kind=kind, name=name) is None:
        raise not_found("word", f"{kind}/{name}"[:120])
    await audit(call, "vocabulary.removed", f"{kind}/{name}")


def _kind(kind: str) -> None:
    if kind not in KINDS:
        raise not_found("word", kind[:80])
