"""What anybody would write: one aiohttp handler, one asyncpg query, no more. The read API is measured against it.

Run as a process of its own, on uvloop like the service: ``python -m tests.benchmarks.bare PORT`` with DATABASE_URL.
"""

from __future__ import annotations

import os
import sys
from uuid import UUID

import asyncpg
import uvloop
from aiohttp import web

from tests.benchmarks.load import HOST

POOL = 10
"""As many connections as a process of the service has."""


async def _make() -> web.Application:
    pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=POOL)

    async def person(request: web.Request) -> web.Response:
        found = "SELECT * FROM person WHERE tenant = $1 AND person_id = $2"
        async with pool.acquire() as conn:
            row = await conn.fetchrow(found, "wcc", UUID(request.match_info["person_id"]))
        return web.json_response({name: value if value is None else str(value) for name, value in row.items()})

    async def close(_: web.Application) -> None:
        await pool.close()

    app = web.Application()
    app.router.add_get("/v1/people/{person_id}", person)
    app.on_cleanup.append(close)
    return app


if __name__ == "__main__":
    web.run_app(_make(), host=HOST, port=int(sys.argv[1]), access_log=None, print=None, loop=uvloop.new_event_loop())
