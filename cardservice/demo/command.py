"""``cardservice demo``: the whole platform on one machine, from an empty folder to an open gate."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import click

from cardservice.demo.catalogue import LEISURE_SITE
from cardservice.demo.client import Api
from cardservice.demo.console import Console
from cardservice.demo.content import ensure_tenants, publish_catalogue
from cardservice.demo.record import Record
from cardservice.demo.seed import seed_residents
from cardservice.demo.story import Story
from cardservice.demo.theatre import Theatre
from cardservice.errors import ServiceError
from cardservice.settings import load_settings

DEFAULT_RESIDENTS: Final = 2000
MAX_RESIDENTS: Final = 1_000_000


@click.command()
@click.option("--once", is_flag=True, help="End after the story: exit 0, or 1 if any step failed.")
@click.option(
    "--residents",
    type=click.IntRange(0, MAX_RESIDENTS),
    default=DEFAULT_RESIDENTS,
    show_default=True,
    help="Synthetic residents of both councils together; only the first run makes them.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the service; 0 takes a free one.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".data/demo"),
    show_default=True,
    help="Where the servers keep data.",
)
@click.option("--fresh", is_flag=True, help="Throw the data of earlier runs away first.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("demo-out"),
    show_default=True,
    help="Where the story's results go.",
)
def demo(*, once: bool, residents: int, port: int, data: Path, fresh: bool, out: Path) -> None:
    """Start everything on embedded servers and show a card opening a gate.

    Needs nothing installed: PostgreSQL and Valkey come as wheels, the turnstile, the camera and the NFC card are
    virtual devices in processes of their own. Everything ends with this command.
    """
    if fresh:
        shutil.rmtree(data, ignore_errors=True)
    raise SystemExit(asyncio.run(_run(once=once, residents=residents, port=port, data=data.resolve(), out=out)))


async def _run(*, once: bool, residents: int, port: int, data: Path, out: Path) -> int:
    console = Console()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    building = True

    def asked_to_stop() -> None:
        stop.set()
        if building and main is not None:
            main.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_stop)
    started = time.monotonic()
    console.heading("Resident card demonstration: two councils, two sites, everything on this machine")
    try:
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            Theatre(console, data, residents=residents, http=http, port=port) as theatre,
        ):
            record = Record(console)
            told = time.monotonic()
            await Story(theatre, record, out).tell()
            building = False
            console.heading("The end")
            console.line(
                f"  {len(record.steps)} steps, {record.failures} not as expected; "
                f"set-up {told - started:.0f} s, story {time.monotonic() - told:.0f} s"
            )
            console.line(f"  {out}/: card.jwt, card.png, jwks.json, story.json; logs in {data}")
            if not once:
                await _stay(console, theatre, stop)
            return 1 if record.failures else 0
    except ServiceError as error:
        console.bad(str(error))
        return 1
    except asyncio.CancelledError:
        console.line("\n  stopped")
        return 130


async def _stay(console: Console, theatre: Theatre, stop: asyncio.Event) -> None:
    url = theatre.api.url
    console.heading("It all stays up. Open:")
    for what, address in (
        ("the gates, live", f"{url}/gates"),
        ("Westminster's public keys", f"{url}/v1/tenants/wcc/jwks.json"),
        (f"reader of {theatre.leisure.name}", theatre.leisure.status_url),
        (f"reader of {theatre.library.name}", theatre.library.status_url),
    ):
        console.line(f"  {what:<36}{address}")
    console.line()
    console.line("  The API wants a token; this run's own is good for a day:")
    console.line(
        f'    curl -H "Authorization: Bearer $(cat {theatre.token_file})" -H "Rescard-Tenant: wcc" {url}/openapi.json'
    )
    console.line()
    console.line("  Ctrl-C stops everything.")
    await stop.wait()
    console.line("\n  stopping ...")


@click.command("demo-content")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the service answers.")
@click.option("--residents", type=click.IntRange(0, MAX_RESIDENTS), default=DEFAULT_RESIDENTS, show_default=True)
@click.option(
    "--code-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Leave a one-time code for the leisure reader here.",
)
def demo_content(*, url: str, residents: int, code_file: Path | None) -> None:
    """Fill a running service with two councils, sites, services and synthetic residents.

    Uses the service's own settings (DATABASE_URL, RESCARD_KEY_ENCRYPTION_KEY...) and its HTTP API.
    """
    asyncio.run(_fill(url=url, residents=residents, code_file=code_file))


async def _fill(*, url: str, residents: int, code_file: Path | None) -> None:
    console = Console()
    settings = load_settings()
    token = await ensure_tenants(settings)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as http:
        api = Api(http, url.rstrip("/"), token)
        with console.progress("Sites and services"):
            await publish_catalogue(api)
        with console.progress(f"{residents:,} synthetic residents with cards"):
            made = await seed_residents(settings, residents, datetime.now(UTC))
        console.note(f"{made:,} made" if made else "there were residents already: left alone")
        if code_file is not None:
            body = {"site": LEISURE_SITE, "name": "Leisure reader", "feeds": ["wcc/leisure"]}
            code = (await api.call("POST", "/v1/readers/codes", body, tenant="wcc"))["code"]
            code_file.write_text(code + "\n")
            console.note(f"enrolment code left in {code_file}")
