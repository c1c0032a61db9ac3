"""``cardservice``: the command line. Imports wait until a command needs them, so that ``decide`` starts at once."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from cardservice import __version__
from cardservice.errors import ServiceError

ELSEWHERE: Final = {
    "demo": "cardservice.demo.command:demo",
    "demo-content": "cardservice.demo.command:demo_content",
    "keys": "cardservice.keys.command:keys",
    "service": "cardservice.catalogue.command.service:service",
    "why": "cardservice.why.command:why",
}
"""Commands that live beside what they start."""
ROLES: Final = ("admin", "desk", "manager", "operator", "station", "auditor")
CANNOT_DECIDE: Final = 2
"""Exit status where cases, documents or files cannot be used."""
PLATFORM: Final = "*"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Commands(click.Group):
    """A group whose faults are one line, and whose further commands are found by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(name for name in ELSEWHERE if self.get_command(ctx, name))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = ELSEWHERE[cmd_name].partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute, None)
        except ModuleNotFoundError as error:
            if ctx.resilient_parsing or cmd_name not in sys.argv:
                return None  # a list of commands: this installation is without it
            what = f"{cmd_name} needs {error.name}: pip install 'rescard[service]'"
            raise click.ClickException(what) from error
        return found if isinstance(found, click.Command) else None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ServiceError, OSError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "asyncpg":
                raise
            raise click.ClickException(f"The database refused: {error}") from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cardservice")
def cli() -> None:
    """Resident digital cards: the service that issues them and tells gates what they open.

    Settings come from the environment: DATABASE_URL, REDIS_URL and RESCARD_... (RESCARD_BIND, RESCARD_WORKERS,
    RESCARD_PUBLIC_URL, RESCARD_KEY_ENCRYPTION_KEY_FILE, RESCARD_LOG_FORMAT, ...). A first installation runs `migrate`,
    then `tenant add` for each council, `token create` for its staff, and `serve`.
    """


@cli.command()
@click.option("--bind", metavar="HOST:PORT", help="Instead of RESCARD_BIND.")
@click.option("--workers", type=click.IntRange(1, 64), help="Instead of RESCARD_WORKERS.")
def serve(bind: str | None, workers: int | None) -> None:
    """Serve the HTTP API until SIGTERM; open requests may finish."""
    import os

    from cardservice.serving import serve as run
    from cardservice.settings import load_settings

    given = {"RESCARD_BIND": bind, "RESCARD_WORKERS": None if workers is None else str(workers)}
    run(load_settings(os.environ | {name: value for name, value in given.items() if value is not None}))


@cli.command()
def migrate() -> None:
    """Bring the database's schema up to date; again does no harm."""
    from cardservice.migrations import migrate as run
    from cardservice.settings import load_settings

    applied = asyncio.run(run(load_settings().database_url))
    click.echo("\n".join(f"applied {name}" for name in applied) or "nothing to apply: the schema is up to date")


@cli.group()
def tenant() -> None:
    """Councils."""


@tenant.command("add")
@click.argument("tenant_id", metavar="ID")
@click.option("--name", required=True, help="As residents know it, e.g. 'Westminster City Council'.")
@click.option("--timezone", default="Europe/London", show_default=True, help="IANA time zone.")
@click.option(
    "--leap-birthday",
    type=click.Choice(["03-01", "02-28"]),
    default="03-01",
    show_default=True,
    help="Birthday in common years of people born on 29 February.",
)
def tenant_add(tenant_id: str, name: str, timezone: str, leap_birthday: str) -> None:
    """Add a council with its signing keys. ID is short, e.g. wcc; it stands in every card for good."""
    from cardservice.administration import add_tenant
    from cardservice.settings import load_settings

    _run(add_tenant(load_settings(), tenant=tenant_id, name=name, timezone=timezone, leap_birthday=leap_birthday))
    click.echo(f"added {tenant_id}: {name}")


@cli.group()
def feed() -> None:
    """What gates are told."""


@feed.command("new-epoch")
@click.option("--tenant", "tenant_id", required=True, help="The council.")
@click.option("--area", help="One service area; all by default.")
def feed_new_epoch(tenant_id: str, area: str | None) -> None:
    """Let every gate start over from a fresh snapshot.

    Run it for each council after the database was restored to an earlier time: gates may have changes that it has lost.
    They go on deciding meanwhile, from what they have.
    """
    from cardservice.administration import begin_new_epoch
    from cardservice.settings import load_settings

    for name, number in _run(begin_new_epoch(load_settings(), tenant=tenant_id, area=area)):
        click.echo(f"{tenant_id}/{name} began anew; its number is {number}")


@cli.group()
def token() -> None:
    """API tokens of staff and machines."""


@token.command("create")
@click.option("--tenant", "tenant_id", help="The council it is for.")
@click.option("--platform", is_flag=True, help="For the platform itself: it names its council in each request.")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, required=True, help="May be repeated.")
@click.option("--label", required=True, help="What it is for; it names the token in the audit.")
@click.option("--person", help="Whose it is: a staff number or mail address. The same for all tokens of one person.")
@click.option("--days", type=click.IntRange(1, 730), default=90, show_default=True, help="How long it is good.")
def token_create(
    tenant_id: str | None, platform: bool, roles: tuple[str, ...], label: str, person: str | None, days: int
) -> None:
    """Create an API token and print it; only its hash is kept.

    Whoever approves a service must not have written it. Without --person the label stands for the person.
    """
    from cardservice.administration import add_token
    from cardservice.settings import load_settings

    if (tenant_id is None) != platform:
        raise click.UsageError("Say --tenant ID or --platform.")
    expires_at = datetime.now(UTC) + timedelta(days=days)
    tenant = tenant_id or PLATFORM
    made = add_token(load_settings(), tenant=tenant, label=label, person=person, roles=roles, expires_at=expires_at)
    click.echo(_run(made))


@cli.command()
@click.option("--server", default="http://127.0.0.1:8080", show_default=True, help="Address to state in the document.")
def openapi(server: str) -> None:
    """Print the API's OpenAPI 3.1 document."""
    from cardservice.api.openapi import openapi_document
    from cardservice.app import endpoints

    click.echo(json.dumps(openapi_document(endpoints(), version=__version__, server=server), indent=2))


@cli.command()
@click.argument("cases", type=_FILE)
@click.option("--world", type=_FILE, required=True, help="Tenants, site sets, calendars and lists, as JSON.")
@click.option("--services", type=_FILE, required=True, help="Service documents, as JSON.")
@click.option("--check", is_flag=True, help="Compare with what the cases expect; exit 1 on any difference.")
def decide(cases: Path, world: Path, services: Path, check: bool) -> None:
    """Decide the taps of CASES, as service and gates would, and print the decisions as JSON.

    Needs no database. Exits 2 where the files cannot be used, naming the case.
    """
    from entitlements.cases import compare, load_cases, run
    from entitlements.errors import EntitlementsError

    try:
        texts = [_text(path) for path in (world, services, cases)]
        results = run(*texts)
        differences = compare(results, load_cases(texts[2])) if check else []
    except (EntitlementsError, OSError) as error:
        click.echo(f"cardservice decide: {error}", err=True)
        sys.exit(CANNOT_DECIDE)
    click.echo(json.dumps(results, indent=2, ensure_ascii=False))
    for difference in differences:
        click.echo(difference, err=True)
    if differences:
        sys.exit(1)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise OSError(f"{path} is not UTF-8 text: {error}") from error


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="cardservice")
