"""The console script ``cardreader``."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click
import uvloop

from readers.client import ServiceClient
from readers.clock import TrustedClock
from readers.errors import NotEnrolledError, ReaderError
from readers.folder import own_folder
from readers.health import PORT_FILE
from readers.identity import Identity
from readers.logs import set_up_logging
from readers.parked import as_json_text, in_words, read_parked, send_again
from readers.process import run_daemon
from readers.sealed import reseal
from readers.secrets import SECRETS_FILE
from readers.settings import LOOPBACK, Settings, load_settings
from readers.status import reader_version

STATUS_SECONDS = 5.0
"""How long ``status`` waits for the daemon on this machine."""

_config = click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    envvar="RESCARD_READER_CONFIG",
    help="The settings file (TOML). Any value outside [[lanes]] can be overridden by RESCARD_READER_<NAME>.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(reader_version(), prog_name="cardreader")
def main() -> None:
    """The reader daemon of a site's gates: reads cards, decides offline, works the turnstiles.

    First enrol this machine with a one-time code from an operator, then run the daemon:

    \b
        cardreader enrol --config reader.toml --code CODE
        cardreader run --config reader.toml
        cardreader status --config reader.toml
        cardreader parked --config reader.toml
    """


@main.command()
@_config
@click.option("--enrol-code", envvar="RESCARD_READER_ENROL_CODE", help="Enrol with this code if not enrolled yet.")
@click.option(
    "--enrol-code-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="RESCARD_READER_ENROL_CODE_FILE",
    help="The same, from the first line of a file.",
)
def run(path: Path, enrol_code: str | None, enrol_code_file: Path | None) -> None:
    """Run the daemon for all lanes until SIGTERM or Ctrl-C.

    It starts from its own disk if the service cannot be reached. With --enrol-code (or RESCARD_READER_ENROL_CODE) an
    unattended first start waits for the service and enrols by itself; the code is left alone afterwards.
    """
    settings = _settings(path)
    if enrol_code is None and enrol_code_file is not None and Identity(settings.folder).enrolment is None:
        enrol_code = _first_line(enrol_code_file)
    set_up_logging(settings.log)
    _run(run_daemon(settings, enrol_code=enrol_code))


@main.command()
@_config
@click.option("--code", required=True, help="The one-time code that an operator made for this reader.")
def enrol(path: Path, code: str) -> None:
    """Make this machine's key and trade a one-time code for its place in the fleet."""
    settings = _settings(path)
    set_up_logging("console")
    identity = Identity(settings.folder)
    if identity.enrolment is not None:
        raise click.ClickException(f"{settings.folder} is already enrolled as {identity.enrolment.reader_id}")

    async def trade() -> None:
        with own_folder(settings.folder):
            async with _client(settings, identity) as client:
                identity.accept(await client.enrol(code))

    _run(trade())
    enrolment = Identity(settings.folder).enrolment
    if enrolment is not None:
        click.echo(f"Enrolled as {enrolment.reader_id} at {enrolment.site}, feeds: {', '.join(enrolment.feeds)}")


@main.command("roll-key")
@_config
def roll_key(path: Path) -> None:
    """Replace this reader's key by a new one. Stop the daemon first; run it again if the reply got lost."""
    settings = _settings(path)
    set_up_logging("console")
    identity = Identity(settings.folder)
    if identity.enrolment is None:
        raise click.ClickException(str(NotEnrolledError(settings.folder)))

    async def roll() -> None:
        with own_folder(settings.folder):
            async with _client(settings, identity) as client:
                old = identity.key
                await client.roll_key()
                try:
                    reseal(settings.folder / SECRETS_FILE, old, identity.key)
                except (ValueError, OSError) as error:
                    click.echo(
                        f"The site's secrets could not be sealed under it and will be pulled anew: {error}", err=True
                    )

    _run(roll())
    click.echo("This reader has a new key; the old one has ended.")


@main.command()
@_config
@click.option("--json", "as_json", is_flag=True, help="Print the whole status as JSON.")
def status(path: Path, *, as_json: bool) -> None:
    """Ask the daemon on this machine how it does. Exits 0 if it can decide, 1 if not, 2 if it does not answer."""
    settings = _settings(path)
    port = settings.health_port or _port(settings)
    url = f"http://{LOOPBACK}:{port}/status"
    try:
        # A loopback address made here, so the scheme is known.
        with urllib.request.urlopen(url, timeout=STATUS_SECONDS) as reply:
            body: dict[str, Any] = json.load(reply)
    except (urllib.error.URLError, TimeoutError, ValueError) as error:
        click.echo(f"The reader does not answer at {url}: {error}", err=True)
        sys.exit(2)
    click.echo(json.dumps(body, indent=2) if as_json else _in_words(body))
    sys.exit(0 if body["ready"] else 1)


@main.command()
@_config
@click.option("--json", "as_json", is_flag=True, help="Print the whole items as JSON; they name cards.")
@click.option("--retry", is_flag=True, help="Send them again. Stop the daemon first.")
def parked(path: Path, *, as_json: bool, retry: bool) -> None:
    """List what the service rejected, each with its reason. Looking disturbs no daemon.

    A rejected tap or passage is kept here for good and never sent again by itself. Once its reason is gone (a lane that
    the service did not know, a clock that was wrong), --retry puts all of them back behind what waits; the daemon sends
    them when it runs again.
    """
    settings = _settings(path)
    if retry:
        set_up_logging("console")
        _run(_retry(settings.folder))
        return
    try:
        items = read_parked(settings.folder)
    except ReaderError as error:
        raise click.ClickException(str(error)) from error
    click.echo(as_json_text(items) if as_json else in_words(items))


async def _retry(folder: Path) -> None:
    with own_folder(folder):
        count = await send_again(folder)
    click.echo(f"{count} parked items wait to be sent again; run the daemon.")


def _in_words(body: dict[str, Any]) -> str:
    lines = [f"Reader at {body['site']}, version {body['version']}: {'ready' if body['ready'] else 'not ready'}"]
    lines += [f"  waits: {reason}" for reason in body["waiting_for"]]
    for name, feed in sorted(body["feeds"].items()):
        seen = "online" if feed["online"] else f"last confirmed {feed['age_seconds']} s ago"
        lines.append(f"  feed {name}: number {feed['number']}, {feed['cards']} cards, {seen}")
    for lane in body["lanes"]:
        lines.append(
            f"  lane {lane['lane']} ({lane['name']}, {lane['direction']}): {lane['state']} - {lane['headline']}"
        )
    trust = "trusted" if body["clock_trusted"] else "NOT trusted"
    lines.append(f"  clock {trust}, {body['clock_offset_ms']} ms from the wall clock")
    lines.append(f"  taps waiting {body['outbox_waiting']}, parked {body['outbox_parked']}")
    lines += [f"  ! {problem}" for problem in body["problems"]]
    return "\n".join(lines)


def _client(settings: Settings, identity: Identity) -> ServiceClient:
    return ServiceClient(
        settings.service,
        identity,
        TrustedClock(),
        timeout_seconds=settings.request_timeout_seconds,
        tls_ca=settings.tls_ca,
    )


def _settings(path: Path) -> Settings:
    try:
        return load_settings(path)
    except ReaderError as error:
        raise click.ClickException(str(error)) from error


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"--enrol-code-file: {error}") from error


def _port(settings: Settings) -> int:
    try:
        return int((settings.folder / PORT_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise click.ClickException(f"no daemon runs on {settings.folder}: {error}") from error


def _run(work: Any) -> None:
    try:
        uvloop.run(work)
    except ReaderError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
