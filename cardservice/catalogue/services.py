"""Putting documents in force and taking them out: the catalogue, the grants and the feeds change in one commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from cardservice.api.call import Work
from cardservice.api.server import audit
from cardservice.catalogue.documents import digest, read_document, refused, refused_for
from cardservice.catalogue.loading import load_catalogue
from cardservice.catalogue.models import ServicePublished
from cardservice.catalogue.served import refuse_unserved
from cardservice.db import Connection, queries
from cardservice.errors import ApiProblem, conflict, not_found
from cardservice.feed.writer import (
    Numbers,
    as_tenant,
    lock_tenant,
    publish_service,
    publish_withdrawal,
    publish_world,
)
from entitlements.compile import compile_service
from entitlements.errors import DocumentError, Problem
from entitlements.service import ServiceDocument
from entitlements.wire.feed import feed_name

NEVER_PUBLISHED: Final[Mapping[str, Any]] = {
    "version": 0,
    "area": None,
    "sha256": b"",
    "shared_with": [],
    "state": None,
}

Feeds = dict[str, int]
"""Last number by feed name."""


async def publish(call: Work, wish: Intent) -> ServicePublished:
    """Put a document that was checked in force for the residents of its tenant and of those that it is shared with.

    Everybody concerned is compiled in this transaction, so a gate sees all of it or nothing. The same document again
    changes nothing.

    Raises:
        ApiProblem: as :func:`settle` and :func:`carry_out`.
    """
    await settle(call, wish)
    if wish.same:
        return wish.unchanged()
    version = await carry_out(call, wish)
    feeds: Feeds = {}
    if wish.in_force:
        gone = wish.tenants_before if wish.area_before != wish.area else wish.tenants_before - wish.tenants
        await _withdraw(call, gone, wish.area_before, wish.service_id, feeds)
    for tenant in sorted(wish.tenants):
        async with as_tenant(call.conn, tenant):
            if tenant != call.tenant and tenant not in wish.tenants_before:
                # The owner's lists come with its service.
                _note(feeds, tenant, await publish_world(call.conn, tenant, now=call.now))
            _note(feeds, tenant, await publish_service(call.conn, tenant, wish.area, wish.service_id, now=call.now))
    named = {"area": wish.area, "shared_with": list(wish.shared)}
    await audit(call, "service.published", wish.service_id, version=version, **named)
    return ServicePublished(service_id=wish.service_id, version=version, area=wish.area, changed=True, feeds=feeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A publication that was checked and not done yet. ``before`` is the newest version as it was seen."""

    tenant: str
    service: ServiceDocument
    document: dict[str, Any]
    shared: tuple[str, ...]
    before: Mapping[str, Any]

    @property
    def service_id(self) -> str:
        """Of which service."""
        return str(self.service.id)

    @property
    def area(self) -> str:
        """Where it will be offered."""
        return str(self.service.area)

    @property
    def area_before(self) -> str:
        """Where it is offered now. Only where a version is in force."""
        return str(self.before["area"])

    @property
    def in_force(self) -> bool:
        """Whether a version is in force now."""
        return bool(self.before["state"] == "published")

    @property
    def tenants(self) -> frozenset[str]:
        """Whose residents it will serve."""
        return frozenset((self.tenant, *self.shared))

    @property
    def tenants_before(self) -> frozenset[str]:
        """Whose residents it serves now."""
        return frozenset((self.tenant, *self.before["shared_with"])) if self.in_force else frozenset()

    @property
    def feeds(self) -> frozenset[tuple[str, str]]:
        """Tenant and area of every feed that changes with it."""
        now = {(tenant, self.area) for tenant in self.tenants}
        return frozenset(now | {(tenant, self.area_before) for tenant in self.tenants_before})

    @property
    def same(self) -> bool:
        """Whether all of it is in force already."""
        seen = (self.before["sha256"], self.before["shared_with"], self.before["area"])
        return self.in_force and seen == (digest(self.document), list(self.shared), self.area)

    def unchanged(self) -> ServicePublished:
        """The answer where all of it is in force already."""
        return ServicePublished(
            service_id=self.service.id, version=self.before["version"], area=self.area, changed=False, feeds={}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A service that was in force when it was looked at, and shall be no longer."""

    tenant: str
    service_id: str
    before: Mapping[str, Any]
    same: bool = False
    tenants: frozenset[str] = frozenset()
    """Whose residents it will serve."""

    @property
    def area(self) -> str:
        """Where it is offered."""
        return str(self.before["area"])

    @property
    def tenants_before(self) -> frozenset[str]:
        """Whose residents it serves now."""
        return frozenset((self.tenant, *self.before["shared_with"]))

    @property
    def feeds(self) -> frozenset[tuple[str, str]]:
        """Tenant and area of every feed that changes with it."""
        return frozenset((tenant, self.area) for tenant in self.tenants_before)


async def intend_withdrawal(call: Work, service_id: str) -> Withdrawal:
    """Check a withdrawal. Takes no lock.

    Raises:
        ApiProblem: 404 where this tenant never published it, 409 where it is not in force.
    """
    before = await _newest(call, service_id)
    if before is NEVER_PUBLISHED:
        raise not_found("service", service_id[:80])
    if before["state"] != "published":
        raise conflict("service_not_published", f"The service {service_id} is not in force.")
    return Withdrawal(tenant=call.tenant, service_id=service_id, before=before)


async def intend(call: Work, service_id: str, document: dict[str, Any], shared_with: Iterable[str]) -> Intent:
    """Check a publication. Takes no lock.

    Raises:
        ApiProblem: 422 with every problem of the document, or ``rule_kind_not_served``.
    """
    service = _checked(call, service_id, document)
    shared = sorted(set(shared_with))
    await _refuse_sharing(call, shared)
    before = await _newest(call, service_id)
    return Intent(tenant=call.tenant, service=service, document=document, shared=tuple(shared), before=before)


async def settle(call: Work, wish: Intent | Withdrawal) -> None:
    """Take the locks of all tenants concerned, and look whether everything still is as it was when it was checked.

    Raises:
        ApiProblem: 409 ``service_changed``, 422 where the document names what does not exist.
    """
    await lock_tenants(call.conn, wish.tenants | wish.tenants_before)
    if dict(await _newest(call, wish.service_id)) != dict(wish.before):
        raise conflict("service_changed", "Somebody else changed this service just now; look at it and try again.")
    if isinstance(wish, Withdrawal):
        return
    try:
        compile_service(wish.service, (await load_catalogue(call.conn, call.tenant)).world)
    except DocumentError as error:
        raise refused(error) from None


async def carry_out(call: Work, wish: Intent | Withdrawal) -> int:
    """Store the next version, in force, or end the one that is; its number. The caller tells the feeds.

    Raises:
        ApiProblem: 409 ``service_id_taken``.
    """
    if isinstance(wish, Withdrawal):
        named = {"tenant": call.tenant, "service_id": wish.service_id}
        await queries().catalogue.end_published(call.conn, **named, state="withdrawn")
        return int(wish.before["version"])
    sha256 = digest(wish.document)
    number = wish.before["version"] + 1
    return await _store(call, wish.service.id, number, wish.area, wish.document, sha256, wish.shared)


async def withdraw(call: Work, wish: Withdrawal) -> ServicePublished:
    """Take a service out of force. Raises as :func:`settle`."""
    await settle(call, wish)
    version = await carry_out(call, wish)
    feeds: Feeds = {}
    await _withdraw(call, wish.tenants_before, wish.area, wish.service_id, feeds)
    await audit(call, "service.withdrawn", wish.service_id, version=version)
    return ServicePublished(service_id=wish.service_id, version=version, area=wish.area, changed=True, feeds=feeds)


async def lock_tenants(conn: Connection, tenants: Iterable[str]) -> None:
    """Take the row locks of several tenants in the order of their names, as everybody does who needs several."""
    for tenant in sorted(set(tenants)):
        async with as_tenant(conn, tenant):
            await lock_tenant(conn, tenant)


async def tell_world(call: Work) -> Feeds:
    """Tell the feeds of this tenant, and of those it shares services with, that its sites or lists changed.

    The caller has taken their locks with :func:`lock_sharers`.
    """
    feeds: Feeds = {}
    for tenant in sorted({call.tenant, *await _sharers(call)}):
        async with as_tenant(call.conn, tenant):
            _note(feeds, tenant, await publish_world(call.conn, tenant, now=call.now))
    return feeds


async def lock_sharers(call: Work) -> None:
    """Take the locks of this tenant and of those it shares services with."""
    await lock_tenants(call.conn, {call.tenant, *await _sharers(call)})


async def _sharers(call: Work) -> Sequence[str]:
    return [row["tenant"] async for row in queries().catalogue.sharing_with(call.conn, tenant=call.tenant)]


def _checked(call: Work, service_id: str, document: dict[str, Any]) -> ServiceDocument:
    if "extends" in document:
        raise _wrong("/extends", "what is published stands alone", "Merge the base and the patch first.")
    try:
        service = read_document(document)
    except DocumentError as error:
        raise refused(error) from None
    if service.id != service_id:
        raise _wrong("/id", f"the id is {service.id}, the path says {service_id}", "Make them the same.")
    if service.tenant != call.tenant:
        raise _wrong("/tenant", f"the tenant is {service.tenant}, yours is {call.tenant}", "Publish your own services.")
    refuse_unserved(service)
    return service


async def _refuse_sharing(call: Work, shared: Sequence[str]) -> None:
    known = {row["tenant"] async for row in queries().catalogue.tenants(call.conn)} - {call.tenant}
    wrong = [
        {"at": "/shared_with", "problem": f"{tenant} is not another council on this platform"}
        for tenant in shared
        if tenant not in known
    ]
    if wrong:
        raise ApiProblem(422, "wrong_values", f"The body is wrong: {wrong[0]['problem']}.", fields=wrong)


def _wrong(pointer: str, message: str, advice: str) -> ApiProblem:
    return refused_for([Problem(pointer=pointer, message=message, advice=advice)], "document_refused")


async def _newest(call: Work, service_id: str) -> Mapping[str, Any]:
    row = await queries().catalogue.newest(call.conn, tenant=call.tenant, service_id=service_id)
    return NEVER_PUBLISHED if row is None else row


async def _store(
    call: Work, service_id: str, version: int, area: str, document: dict[str, Any], sha256: bytes, shared: Sequence[str]
) -> int:
    named = {"tenant": call.tenant, "service_id": service_id}
    await queries().catalogue.end_published(call.conn, **named, state="superseded")
    try:
        stored = await queries().catalogue.add_version(
            call.conn,
            **named,
            version=version,
            area=area,
            document=document,
            sha256=sha256,
            shared_with=list(shared),
            published_by=call.actor.name,
            published_at=call.now,
        )
    except asyncpg.UniqueViolationError:
        raise conflict("service_id_taken", f"Another council's service has the id {service_id}.") from None
    return int(stored)


async def _withdraw(call: Work, tenants: Iterable[str], area: str, service_id: str, feeds: Feeds) -> None:
    for tenant in sorted(tenants):
        async with as_tenant(call.conn, tenant):
            _note(feeds, tenant, await publish_withdrawal(call.conn, tenant, area, service_id, now=call.now))
            if tenant != call.tenant:
                _note(feeds, tenant, await publish_world(call.conn, tenant, now=call.now))


def _note(feeds: Feeds, tenant: str, numbers: Numbers) -> None:
    for area, number in numbers:
        feeds[feed_name(tenant, area)] = number
