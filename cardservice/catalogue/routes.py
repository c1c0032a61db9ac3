"""Routes of the catalogue: services, sites, lists, areas. Every member of staff reads; managers change."""

from __future__ import annotations

from cardservice.api.call import Call
from cardservice.api.models import Page, encode_cursor, read_cursor
from cardservice.api.routing import Routes
from cardservice.catalogue import direct, places
from cardservice.catalogue.models import (
    AreaReply,
    AreasReply,
    ListDraft,
    ListReply,
    ListsPage,
    Publication,
    ServiceDetail,
    ServicePublished,
    ServiceReply,
    ServicesPage,
    SiteDraft,
    SiteReply,
    SitesPage,
    VersionReply,
)
from cardservice.db import queries
from cardservice.errors import not_found
from entitlements.wire.feed import feed_name

routes = Routes(tag="catalogue")

MANAGERS = ("manager",)


@routes.add("GET", "/v1/services", "List services in force, own and shared ones")
async def list_services(call: Call, query: Page) -> ServicesPage:
    (after,) = read_cursor(query.cursor, str)
    found = queries().catalogue.published_page(call.conn, tenant=call.tenant, after=after, limit=query.limit + 1)
    items = [ServiceReply.of(row) async for row in found]
    shown = items[: query.limit]
    return ServicesPage(items=shown, next=encode_cursor(shown[-1].service_id) if len(items) > len(shown) else None)


@routes.add("GET", "/v1/services/{service_id}", "Look up a service with its versions")
async def get_service(call: Call) -> ServiceDetail:
    service_id = call.path("service_id")
    rows = [row async for row in queries().catalogue.versions(call.conn, tenant=call.tenant, service_id=service_id)]
    if not rows:
        raise not_found("service", service_id[:80])
    owner = call.tenant if any(row["tenant"] == call.tenant for row in rows) else rows[0]["tenant"]
    versions = [VersionReply.of(row) for row in rows if row["tenant"] == owner]
    published = next((version for version in versions if version.state == "published"), None)
    return ServiceDetail(service_id=service_id, tenant=owner, published=published, versions=versions)


@routes.add("PUT", "/v1/services/{service_id}", "Put a document in force without a second person", roles=("admin",))
async def publish(call: Call, body: Publication) -> ServicePublished:
    done = await direct.publish_directly(call, call.platform.settings, call.path("service_id"), body)
    call.after_commit += [call.platform.hub.wake, call.platform.publications.wake]
    return done


@routes.add("POST", "/v1/services/{service_id}/withdraw", "Take a service out of force", roles=MANAGERS)
async def withdraw(call: Call) -> ServicePublished:
    done = await direct.withdraw_directly(call, call.platform.settings, call.path("service_id"))
    call.after_commit += [call.platform.hub.wake, call.platform.publications.wake]
    return done


@routes.add("GET", "/v1/sites", "List sites")
async def list_sites(call: Call, query: Page) -> SitesPage:
    (after,) = read_cursor(query.cursor, str)
    found = queries().catalogue.sites_page(call.conn, tenant=call.tenant, after=after, limit=query.limit + 1)
    items = [SiteReply.of(row) async for row in found]
    shown = items[: query.limit]
    return SitesPage(items=shown, next=encode_cursor(shown[-1].site_id) if len(items) > len(shown) else None)


@routes.add("GET", "/v1/sites/{site_id}", "Look up a site with its lanes")
async def get_site(call: Call) -> SiteReply:
    return SiteReply.of(await places.find_site(call, call.path("site_id")))


async def prepare_site(call: Call, body: SiteDraft) -> None:
    await places.prepare_site(call, call.path("site_id"), body)


@routes.add("PUT", "/v1/sites/{site_id}", "Make or change a site with its lanes", roles=MANAGERS, before=prepare_site)
async def put_site(call: Call, body: SiteDraft) -> SiteReply:
    reply = await places.put_site(call, call.path("site_id"), body)
    call.after_commit.append(call.platform.hub.wake)
    return reply


@routes.add("GET", "/v1/lists", "List site sets, calendars and item lists")
async def list_lists(call: Call, query: Page) -> ListsPage:
    kind, name = read_cursor(query.cursor, str, str)
    found = queries().catalogue.lists_page(
        call.conn, tenant=call.tenant, after_kind=kind, after_name=name, limit=query.limit + 1
    )
    items = [ListReply.of(row) async for row in found]
    shown = items[: query.limit]
    last = encode_cursor(shown[-1].kind, shown[-1].name) if len(items) > len(shown) else None
    return ListsPage(items=shown, next=last)


@routes.add("GET", "/v1/lists/{kind}/{name}", "Look up a list that documents may name")
async def get_list(call: Call) -> ListReply:
    return ListReply.of(await places.find_list(call, call.path("kind"), call.path("name")))


@routes.add("PUT", "/v1/lists/{kind}/{name}", "Make or change a list that documents may name", roles=MANAGERS)
async def put_list(call: Call, body: ListDraft) -> ListReply:
    reply = await places.put_list(call, call.path("kind"), call.path("name"), body)
    call.after_commit.append(call.platform.hub.wake)
    return reply


@routes.add("GET", "/v1/areas", "List service areas with where their feeds stand")
async def list_areas(call: Call) -> AreasReply:
    """Not paged: a council has as many as it runs purposes, a dozen or so."""
    found = queries().catalogue.areas(call.conn, tenant=call.tenant)
    return AreasReply(items=[AreaReply.of(row, feed=feed_name(call.tenant, row["area"])) async for row in found])
