"""The only wiring: settings in, a running aiohttp application out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from cardservice.api.problems import from_exception, problem_response
from cardservice.api.routing import Endpoint
from cardservice.api.server import make_handler, request_id_of
from cardservice.background.publications import Publications
from cardservice.background.routes import routes as jobs
from cardservice.bookings.routes import routes as bookings
from cardservice.cards.routes import routes as cards
from cardservice.catalogue.life.replaying import Replays
from cardservice.catalogue.life.routes import routes as life
from cardservice.catalogue.life.schedule import Scheduler
from cardservice.catalogue.routes import routes as catalogue
from cardservice.chips.numbers import uid_cards
from cardservice.chips.routes import routes as chips
from cardservice.db import Database
from cardservice.feed.horizon import HorizonKeeper
from cardservice.feed.hub import Hub
from cardservice.feed.routes import routes as feed
from cardservice.feed.snapshot import Snapshots
from cardservice.fleet.routes import routes as fleet
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.opening import open_sealed
from cardservice.keys.rotation import Rotations
from cardservice.keys.routes import routes as keys
from cardservice.keys.sealing import Sealed, Sealer
from cardservice.keys.shared_secret import SharedSecret
from cardservice.keys.store import KeyStore
from cardservice.ledger.routes import routes as ledger
from cardservice.loans.routes import routes as loans
from cardservice.metrics import Metrics
from cardservice.ops.routes import routes as operations
from cardservice.ops.upkeep import upkeep
from cardservice.people.routes import routes as people
from cardservice.phone.routes import routes as phones
from cardservice.pins.routes import routes as pins
from cardservice.pins.verifiers import Verifiers
from cardservice.platform import Platform
from cardservice.settings import Settings
from cardservice.shared import Shared
from cardservice.sitesecrets.desk import SecretsDesk
from cardservice.sitesecrets.masters import MasterStore
from cardservice.sitesecrets.routes import routes as site_secrets
from cardservice.spends.routes import routes as spends
from cardservice.status.lists import StatusLists
from cardservice.status.routes import routes as status_lists
from cardservice.taps.routes import routes as taps
from cardservice.upstreams.routes import routes as upstreams
from cardservice.web.board import Board
from cardservice.web.routes import routes as pages
from cardservice.why.routes import routes as explanations

PLATFORM: Final = web.AppKey("platform", Platform)
PARTS: Final = (
    people,
    pins,
    cards,
    chips,
    phones,
    keys,
    site_secrets,
    status_lists,
    catalogue,
    life,
    feed,
    fleet,
    taps,
    explanations,
    jobs,
    ledger,
    bookings,
    loans,
    upstreams,
    spends,
    operations,
    pages,
)


def endpoints() -> list[Endpoint]:
    """Every operation of the service."""
    return [endpoint for part in PARTS for endpoint in part.endpoints]


@web.middleware
async def _problems_everywhere(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Unknown paths and methods get a problem document as well."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        request_id = request_id_of(request)
        response = problem_response(from_exception(error), request_id)
        response.headers["X-Request-Id"] = request_id
        return response


def make_app(settings: Settings) -> web.Application:
    """The application. Its parts are opened when it starts and closed when it ends."""
    db, metrics, shared = (
        Database(settings.database_url, pool_size=settings.pool_size),
        Metrics(),
        Shared(settings),
    )
    encryption = KeyEncryption.of(settings)
    store, hub = KeyStore(settings, encryption), Hub(db, settings, metrics, shared)
    snapshots = Snapshots(db, store)
    publications = Publications(db, hub, snapshots, settings)
    tenant_secrets = Sealer(encryption, Sealed.TENANT_SECRETS)
    masters = MasterStore(tenant_secrets)
    platform = Platform(
        settings=settings,
        db=db,
        keys=store,
        encryption=encryption,
        replies=Sealer(encryption, Sealed.REPLIES),
        tenant_secrets=tenant_secrets,
        cookies=SharedSecret(db, encryption, "cookies"),
        rotations=Rotations(db, hub, settings),
        hub=hub,
        snapshots=snapshots,
        status=StatusLists(db, store, settings),
        metrics=metrics,
        shared=shared,
        gates=Board(db, shared),
        replays=Replays(),
        scheduler=Scheduler(db, hub, publications, settings),
        publications=publications,
        masters=masters,
        site_secrets=SecretsDesk(db, masters, tenant_secrets, uid_cards=uid_cards),
        verifiers=Verifiers(),
    )
    horizon = HorizonKeeper(db, hub, settings)
    app = web.Application(client_max_size=settings.max_body_bytes, middlewares=[_problems_everywhere])
    app[PLATFORM] = platform

    async def live(_: web.Application) -> AsyncIterator[None]:
        await platform.db.open()
        await open_sealed(platform)
        await platform.shared.open()
        await platform.hub.open()
        await platform.gates.open()
        await horizon.open()
        await platform.publications.open()
        await platform.scheduler.open()
        await platform.rotations.open()
        async with upkeep(platform):
            yield
        await platform.rotations.close()
        await platform.scheduler.close()
        await platform.publications.close()
        await horizon.close()
        await platform.gates.close()
        await platform.hub.close()
        await platform.shared.close()
        platform.verifiers.close()
        await platform.db.close()

    async def let_streams_end(_: web.Application) -> None:
        platform.hub.end_streams()
        await platform.gates.end_watching()

    app.cleanup_ctx.append(live)
    app.on_shutdown.append(let_streams_end)
    for endpoint in endpoints():
        app.router.add_route(endpoint.method, endpoint.path, make_handler(platform, endpoint))
    return app
