"""The commands of ``cardservice service``.

``new``, ``lint``, ``explain`` and ``diff`` work on files and need no server. The others speak to one: ``--url`` or
RESCARD_URL, ``--token`` or RESCARD_TOKEN.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from cardservice.catalogue.command import telling
from cardservice.catalogue.command.client import Caller
from cardservice.catalogue.command.files import (
    NO_SITES,
    UnreadableError,
    document_of,
    lint_text,
    load_surroundings,
    read_file,
    told_world,
    trusted_world,
)
from cardservice.catalogue.life.reading import read_document
from cardservice.catalogue.life.templates import Question, as_text, template, templates
from cardservice.errors import ApiProblem, RefusedError
from entitlements.explain import explain as explain_document
from entitlements.explain import explain_change

OBJECTIONS: Final = 1
"""Exit status of ``lint`` where something must be put right."""
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


class _Commands(click.Group):
    """Refusals are sentences; what is wrong in a text is shown with its lines."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UnreadableError as error:
            _say(telling.findings(error.findings, read_file(error.path), str(error.path)), err=True)
            sys.exit(OBJECTIONS)
        except ApiProblem as problem:
            raise click.ClickException(_problem(problem)) from problem


@click.group(cls=_Commands)
def service() -> None:
    """Services: write one, read it back, try it, let a second person approve it, publish it, undo it.

    A manager's way: `new`, then edit the file; `lint` and `explain`; `simulate`; `submit`; a colleague does `approve`;
    `publish`, now or `--at` a time; `watch`. `rollback` brings the version before back at once.
    """


def _around(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--titles", type=_FILE, help="What the council calls things: a JSON object, id to words."),
        click.option("--facts", type=_FILE, help="Facts that somebody supplies: a JSON object, kind to list of names."),
        click.option("--world", type=_FILE, help="Councils, sites, calendars and lists (rescard.world/1)."),
    ):
        command = option(command)
    return command


def _server(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--tenant", help="The council, where the token is the platform's."),
        click.option("--token", envvar="RESCARD_TOKEN", required=True, help="Your API token, or RESCARD_TOKEN."),
        click.option("--url", envvar="RESCARD_URL", required=True, help="Where the service answers, or RESCARD_URL."),
    ):
        command = option(command)
    return command


@service.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@click.option("--template", "name", help="Which template; without it they are listed.")
@click.option("--council", default="wcc", show_default=True, help="Short id of the council.")
@click.option("--id", "service_id", help="Another id than the template's, e.g. wcc.leisure.sauna.")
@click.option("--answer", "answers", multiple=True, metavar="QUESTION=ANSWER", help="May be repeated.")
@click.option("--ask/--no-ask", default=None, help="Ask the template's questions here (at a terminal by default).")
def new(
    *,
    file: Path | None,
    name: str | None,
    council: str,
    service_id: str | None,
    answers: tuple[str, ...],
    ask: bool | None,
) -> None:
    """Write a document from a template to FILE, by answers to plain questions."""
    if name is None:
        _say(_templates())
        return
    chosen = template(name)
    given = {key: value for key, _, value in (answer.partition("=") for answer in answers)}
    asked = {question.id: question for question in chosen.file.questions}
    read = {key: _answer(asked[key], value) if key in asked else value for key, value in given.items()}
    if sys.stdin.isatty() if ask is None else ask:
        for question in chosen.file.questions:
            if question.id not in read:
                read[question.id] = _ask(question, council)
    text = as_text(chosen.fill(council, read, service_id=service_id))
    if file is None:
        click.echo(text, nl=False)
        return
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise RefusedError(detail=f"{file} is there already") from error
    click.echo(f"Written to {file}. Read it back with: cardservice service explain {file}")


@service.command()
@click.argument("file", type=_FILE)
@_around
def lint(file: Path, world: Path | None, facts: Path | None, titles: Path | None) -> None:
    """Say what must be put right in FILE, and what is worth a look, with the lines. Exits 1 where something must."""
    around = load_surroundings(world, facts, titles)
    text = read_file(file)
    reading = lint_text(text, around)
    _say(telling.findings(reading.findings, text, str(file)))
    if around.on_trust:
        click.echo(f"Taken on trust: {'; '.join(around.on_trust)}.")
    if reading.errors:
        sys.exit(OBJECTIONS)


@service.command()
@click.argument("file", type=_FILE)
@_around
def explain(file: Path, world: Path | None, facts: Path | None, titles: Path | None) -> None:
    """Read FILE back in plain English."""
    around = load_surroundings(world, facts, titles)
    document = document_of(file)
    known = around.world or told_world(trusted_world(document))
    told = explain_document(document, known, titles=around.titles).text()
    click.echo(told if around.world is not None else told.replace(NO_SITES, ""), nl=False)


@service.command()
@click.argument("before", type=_FILE)
@click.argument("after", type=_FILE, required=False)
@_around
@click.option("--url", envvar="RESCARD_URL", help="Compare BEFORE with the version in force of this service instead.")
@click.option("--token", envvar="RESCARD_TOKEN", help="Your API token, or RESCARD_TOKEN.")
@click.option("--tenant", help="The council, where the token is the platform's.")
def diff(
    *,
    before: Path,
    after: Path | None,
    world: Path | None,
    facts: Path | None,
    titles: Path | None,
    url: str | None,
    token: str | None,
    tenant: str | None,
) -> None:
    """Say in sentences what differs between two files, or between the version in force and one file."""
    around = load_surroundings(world, facts, titles)
    if after is None:
        if url is None or token is None:
            raise click.UsageError("Say two files, or one file with --url and --token.")
        new_one = document_of(before)
        found = Caller(url, token, tenant).get(f"/v1/services/{quote(new_one.id)}")["published"]
        if found is None:
            raise RefusedError(detail=f"no version of {new_one.id} is in force")
        old_one, name = read_document(as_text(found["document"])).document, f"version {found['version']}, in force"
        if old_one is None:
            raise RefusedError(detail=f"the version of {new_one.id} in force cannot be read here")
    else:
        old_one, new_one, name = document_of(before), document_of(after), str(before)
    known = around.world or trusted_world(old_one, new_one)
    _say(telling.differences(explain_change(old_one, new_one, known, titles=around.titles), name))


@service.command("list")
@_server
@click.option("--drafts", is_flag=True, help="Drafts instead of services in force.")
@click.option("--versions", "service_id", metavar="SERVICE", help="Versions of one service, with who and why.")
def list_command(*, url: str, token: str, tenant: str | None, drafts: bool, service_id: str | None) -> None:
    """List services in force, drafts, or the versions of a service."""
    caller = Caller(url, token, tenant)
    if service_id is not None:
        _say(telling.versions(_pages(caller, f"/v1/services/{quote(service_id)}/versions")))
    elif drafts:
        _say(line for row in _pages(caller, "/v1/drafts") for line in telling.draft(row))
    else:
        _say(line for row in _pages(caller, "/v1/services") for line in telling.service(row))


@service.command()
@click.argument("file", type=_FILE)
@click.option("--why", help="What the second person should know.")
@click.option("--only-draft", is_flag=True, help="Keep it as a draft; do not hand it over yet.")
@_server
def submit(*, file: Path, why: str | None, only_draft: bool, url: str, token: str, tenant: str | None) -> None:
    """Take FILE to the service as a draft and hand it to a second person."""
    caller = Caller(url, token, tenant)
    row = caller.post("/v1/drafts", {"text": read_file(file)})
    if not only_draft:
        row = caller.post(f"/v1/drafts/{row['draft_id']}/submit", {"why": why})
    _say(telling.draft(row))


@service.command()
@click.argument("what", metavar="FILE_OR_DRAFT")
@click.option("--days", type=click.IntRange(1, 92), default=30, show_default=True, help="Of stored taps.")
@click.option("--examples", type=click.IntRange(0, 50), default=5, show_default=True, help="Of each change.")
@_server
def simulate(*, what: str, days: int, examples: int, url: str, token: str, tenant: str | None) -> None:
    """Replay the last days' taps under a draft, and say who would be treated differently.

    A FILE becomes a draft first.
    """
    caller = Caller(url, token, tenant)
    name = what
    if Path(what).is_file():
        name = caller.post("/v1/drafts", {"text": read_file(Path(what))})["draft_id"]
        click.echo(f"draft {name}")
    reply = caller.post(f"/v1/drafts/{quote(name)}/simulate", {"days": days, "examples": examples})
    _say(telling.simulation(reply))


@service.command()
@click.argument("draft")
@click.option("--why", required=True, help="It is kept for ever.")
@click.option("--reject", is_flag=True, help="Send it back to its author instead.")
@_server
def approve(*, draft: str, why: str, reject: bool, url: str, token: str, tenant: str | None) -> None:
    """Let a DRAFT pass that somebody else wrote, after reading it back."""
    caller = Caller(url, token, tenant)
    if not reject:
        told = caller.get(f"/v1/drafts/{quote(draft)}/explain")
        click.echo(told["text"])
        if told["changes"] is not None:
            _say([*telling.differences(told["changes"], f"version {told['compared_with']}, in force"), ""])
    _say(telling.draft(caller.post(f"/v1/drafts/{quote(draft)}/{'reject' if reject else 'approve'}", {"why": why})))


@service.command()
@click.argument("draft")
@click.option("--why", help="It is kept for ever.")
@click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]), help="By this machine's clock.")
@_server
def publish(*, draft: str, why: str | None, at: datetime | None, url: str, token: str, tenant: str | None) -> None:
    """Put an approved DRAFT in force, now or at a time."""
    caller = Caller(url, token, tenant)
    if at is not None:
        body = {"publish_at": at.astimezone(UTC).isoformat(), "why": why}
        _say(telling.draft(caller.post(f"/v1/drafts/{quote(draft)}/schedule", body)))
        return
    row = caller.post(f"/v1/drafts/{quote(draft)}/publish", {"why": why})
    _say(telling.draft(row))
    if row.get("job_id"):
        click.echo(f"It is prepared in the background: GET /v1/jobs/{row['job_id']} tells how far it is.")


@service.command()
@click.argument("service_id", metavar="SERVICE")
@click.option("--to", "to_version", type=click.IntRange(1), help="Which version; the one before by default.")
@click.option("--why", required=True, help="It is kept for ever.")
@_server
def rollback(*, service_id: str, to_version: int | None, why: str, url: str, token: str, tenant: str | None) -> None:
    """Bring an earlier version of a SERVICE back to the gates at once."""
    caller = Caller(url, token, tenant)
    done = caller.post(f"/v1/services/{quote(service_id)}/rollback", {"to_version": to_version, "why": why})
    if done.get("job_id"):
        click.echo(f"Version {done['same_as']} comes back; job {done['job_id']} tells how far it is.")
    else:
        click.echo(f"{service_id}: version {done['version']} is in force, with the rules of version {done['same_as']}.")


@service.command()
@click.argument("service_id", metavar="SERVICE")
@click.option("--hours", type=click.IntRange(1, 336), default=24, show_default=True, help="Before and after.")
@_server
def watch(*, service_id: str, hours: int, url: str, token: str, tenant: str | None) -> None:
    """Say how entries went since the last publication, and before it."""
    found = Caller(url, token, tenant).get(f"/v1/services/{quote(service_id)}/watch?hours={hours}")
    _say(found["sentences"])


def _templates() -> list[str]:
    told = ["Begin with one of these: cardservice service new --template NAME FILE", ""]
    for each in templates().values():
        told += [f"{each.name:<18}{each.file.title}", f"{'':<18}{each.file.summary}"]
    return told


def _ask(question: Question, council: str) -> Any:
    default = question.default
    shown = ", ".join(default) if isinstance(default, list) else str(default)
    while True:
        said = click.prompt(question.ask, default=shown.replace("{tenant}", council))
        try:
            return _answer(question, said)
        except click.UsageError as error:
            click.echo(f"  {error.message}")


def _answer(question: Question, said: str) -> Any:
    if question.kind == "list":
        return [name.strip() for name in said.split(",") if name.strip()]
    if question.kind == "text":
        return said
    try:
        return int(said)
    except ValueError:
        raise click.UsageError(f"{question.id}: write a whole number, not {said!r}.") from None


def _pages(caller: Caller, path: str) -> Iterable[Any]:
    cursor: str | None = None
    while True:
        page = caller.get(path + ("" if cursor is None else f"?cursor={cursor}"))
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return


def _problem(problem: ApiProblem) -> str:
    lines = [problem.detail]
    lines += [f"  {field['at']}: {field['problem']}" for field in problem.fields]
    return "\n".join(lines)


def _say(lines: Iterable[str], *, err: bool = False) -> None:
    for line in lines:
        click.echo(line, err=err)
