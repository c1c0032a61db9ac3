"""``cardservice why TAP``: the same in a terminal."""

from __future__ import annotations

import click

from cardservice.catalogue.command.client import Caller
from cardservice.catalogue.command.telling import moment
from cardservice.errors import ApiProblem


@click.command()
@click.argument("tap", type=click.UUID)
@click.option("--url", envvar="RESCARD_URL", required=True, help="Where the service answers, or RESCARD_URL.")
@click.option("--token", envvar="RESCARD_TOKEN", required=True, help="Your API token, or RESCARD_TOKEN.")
@click.option("--tenant", help="The council, where the token is the platform's.")
def why(tap: object, url: str, token: str, tenant: str | None) -> None:
    """Say why the gate decided as it did at this TAP: replayed with the rules, facts and state of that moment.

    The look is audited.
    """
    try:
        found = Caller(url, token, tenant).get(f"/v1/taps/{tap}/why")
    except ApiProblem as problem:
        raise click.ClickException(problem.detail) from problem
    seen, recorded, replayed = found["tap"], found["recorded"], found["replayed"]
    click.echo(f"{moment(seen['at'])}, {seen['site']}, lane {seen['lane']}")
    if found["rules"] is not None:
        rules = found["rules"]
        click.echo(f"Service: {rules['title']} ({rules['service']}, version {rules['version']})")
    click.echo(f"The gate said: {recorded['outcome']}, {recorded['reason']}. {recorded['staff']}")
    click.echo(f"Decided by: {recorded['step']}")
    click.echo(f"Say to the resident: {recorded['resident']}")
    if replayed is None:
        click.echo("It cannot be replayed.")
    elif found["agrees"]:
        click.echo("The replay comes to the same.")
    else:
        click.echo(f"The replay differs: {replayed['outcome']}, {replayed['reason']}. {replayed['staff']}")
    for title, name in (
        ("What may explain it", "may_explain"),
        ("Facts then", "facts"),
        ("State then", "state"),
        ("Changed since", "changed_since"),
        ("Not known", "not_known"),
    ):
        if found[name]:
            click.echo(f"\n{title}")
            for line in found[name]:
                click.echo(f"  - {line}")
