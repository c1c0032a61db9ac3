"""What the command line says: sentences, for people who have never seen JSON."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from entitlements.lint import Finding

WIDTH: Final = 100
"""Characters of a line of prose."""
_WHO: Final = re.compile(r"(?P<clock>\w+ for )?(?:person:(?P<person>\S+)(?: token:(?P<used>.*))?|token:(?P<label>.*))")
"""Who did something: a person and the token that they used, or the token alone; or the clock for them."""
_MARKS: Final = {"error": "Must be put right", "warning": "Worth a look"}
_STATES: Final = {
    "draft": "being written",
    "submitted": "waits for a second person",
    "approved": "approved, not published yet",
    "scheduled": "approved and scheduled",
    "publishing": "being published",
    "published": "published",
    "rejected": "sent back to its author",
    "withdrawn": "given up",
}


def findings(found: Sequence[Finding], text: str, name: str) -> list[str]:
    """Each finding with its line in the file, the line itself, and what to do."""
    written = text.splitlines()
    told: list[str] = []
    for one in found:
        at = f"{name}, line {one.line}" if one.line is not None else name
        told.append(f"{_MARKS[one.severity]} ({at}):")
        if one.line is not None and one.line <= len(written):
            told.append(f"    | {written[one.line - 1].strip()[: WIDTH - 6]}")
        told += _wrapped(f"{one.message} {one.advice}", "    ")
        told.append("")
    errors = sum(one.severity == "error" for one in found)
    told.append(_verdict(errors, len(found) - errors))
    return told


def finding_of(row: Mapping[str, Any]) -> Finding:
    """A finding as the service sends it."""
    names = ("severity", "code", "pointer", "line", "message", "advice")
    return Finding(**{name: row[name] for name in names})


def differences(changes: Sequence[str], before: str) -> list[str]:
    """A change, as a difference and nothing else."""
    if not changes:
        return [f"Nothing changes compared with {before}."]
    return [f"Compared with {before}:", *(line for change in changes for line in _bullet(change))]


def draft(row: Mapping[str, Any]) -> list[str]:
    """One draft in a few lines."""
    state = _STATES.get(row["state"], row["state"])
    if row.get("publish_at"):
        state += f" for {moment(row['publish_at'])}"
    if row.get("published_version"):
        state += f" as version {row['published_version']}"
    return [
        f"{row['service_id']}: {state}",
        f"    draft {row['draft_id']}, last changed {moment(row['updated_at'])}, by {people(row['authors'])}",
    ]


def service(row: Mapping[str, Any]) -> list[str]:
    """One service in force."""
    shared = f", shared with {', '.join(row['shared_with'])}" if row["shared_with"] else ""
    return [
        f"{row['service_id']}: {row['title']}",
        f"    version {row['version']} since {moment(row['published_at'])}, by {people([row['published_by']])}{shared}",
    ]


def simulation(reply: Mapping[str, Any]) -> list[str]:
    """A replay: the sentences, examples, and how far to trust them."""
    result = reply["result"]
    told = [
        f"Taps from {moment(reply['since'])} to {moment(reply['until'])}, replayed in {reply['seconds']:.0f} s.",
        "",
    ]
    told += [line for sentence in result["sentences"] for line in _wrapped(sentence, "")]
    for change in result["changes"]:
        if change["examples"]:
            told += ["", f"{change['taps']:,} times: {_treated(change['before'])} → {_treated(change['after'])}"]
            told += [f"    {one['resident']}, {_local(one['at'])}, {one['site']}" for one in change["examples"]]
    residents = result["residents"]
    if residents["different"]:
        count = f"{residents['different']} of {residents['looked_at']} example residents"
        told += ["", f"{count} would be treated differently:"]
        told += [line for one in residents["told"] for line in _bullet(one)]
    if result["compared"]:
        share = round(100 * result["agreed"] / result["compared"])
        told += ["", f"The version in force, replayed, agrees with what the gates then decided in {share} % of taps."]
    told += [f"Left out: {count:,} taps ({why})." for why, count in result["left_out"].items()]
    return told


def versions(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Versions of a service, newest first, with who and why."""
    told = []
    for row in rows:
        how = row["how"] or "put in force directly"
        told.append(f"version {row['version']} ({row['state']}): {row['title']}")
        told.append(f"    {how} {moment(row['published_at'])} by {people([row['published_by']])}")
        if row["why"]:
            told += _wrapped(f"why: {row['why']}", "    ")
        if row["approved_by"]:
            told += _wrapped(f"approved by {people([row['approved_by']])}: {row['approved_why']}", "    ")
    return told


def people(names: Iterable[str]) -> str:
    """``token:Ann Example`` is Ann Example, ``person:ann token:laptop`` is ann (laptop)."""
    return ", ".join(map(_who, names))


def _who(name: str) -> str:
    found = _WHO.fullmatch(name)
    if found is None:
        return name
    used = found["used"]
    return (found["clock"] or "") + (found["person"] or found["label"]) + (f" ({used})" if used else "")


def moment(text: str) -> str:
    """An instant by the clock of this machine."""
    return f"{datetime.fromisoformat(text).astimezone():%-d %B %Y, %H:%M}"


def _local(text: str) -> str:
    return f"{datetime.fromisoformat(text):%-d %B %H:%M}"


def _treated(treatment: Mapping[str, str] | None) -> str:
    return "not offered" if treatment is None else treatment["told"].rstrip(".").lower()


def _verdict(errors: int, warnings: int) -> str:
    if not errors and not warnings:
        return "Nothing to object to."
    parts = []
    if errors:
        parts.append(f"{errors} thing{'s' * (errors > 1)} must be put right before it can go live")
    if warnings:
        parts.append(f"{warnings} {'are' if warnings > 1 else 'is'} worth a look")
    return "; ".join(parts) + "."


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent) or [indent]


def _bullet(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  - ", subsequent_indent="    ")
