"""A manager who follows the guide's page on the life of a document, step by step, gets where it says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cardservice.app import endpoints
from tests.support.life import AUTHOR, COLLEAGUE, act, gym, published
from tests.support.reader import add_site, enrolled_reader
from tests.support.service import Service

GUIDE = Path(__file__).parents[2] / "docs" / "guide"
PAGE = GUIDE / "life.md"
SERVICE = "wcc.waste.garden"


def page() -> str:
    return PAGE.read_text("utf-8")


def calls() -> list[tuple[str, str, Any]]:
    """Method, path and body of each call of the page, in order."""
    found = re.findall(r"^```http\n(\w+) (\S+)\n(.*?)^```$", page(), flags=re.DOTALL | re.MULTILINE)
    return [(method, path, json.loads(body) if body.strip() else None) for method, path, body in found]


def commands() -> list[list[str]]:
    """Words of each command of the page, in order."""
    boxes = re.findall(r"^```sh\n(.*?)^```$", page(), flags=re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for box in boxes for line in box.splitlines()]


def told_change() -> str:
    """The change of a document as the page quotes it."""
    _, quote, rest = page().partition("## Change a service")[2].partition("\n> ")
    assert quote
    return rest.partition("\n")[0]


async def _places(service: Service) -> None:
    for site, name in (("paddington-rec", "Paddington Rec"), ("regents-yard", "Regent’s Yard")):
        await add_site(service, site=site, name=name)
    status, answer = await service.call(
        "PUT", "/v1/lists/site_set/wcc-parks", {"members": ["paddington-rec", "regents-yard"]}, roles=AUTHOR
    )
    assert status == 200, answer


async def test_whoever_makes_the_calls_has_a_service_and_can_take_it_back(service: Service) -> None:
    await _places(service)
    draft, told = "", dict[str, Any]()
    for method, path, body in calls():
        if path.endswith("/rollback"):
            await _another_version(service)
        if isinstance(body, dict) and "publish_at" in body:
            body["publish_at"] = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        roles = COLLEAGUE if path.endswith("/approve") else AUTHOR
        status, answer = await service.call(method, path.replace("DRAFT", draft), body, roles=roles)
        assert status in (200, 201), (method, path, answer)
        if (method, path) == ("POST", "/v1/drafts"):
            draft = answer["draft_id"]
        told[f"{method} {path.rpartition('/')[2].partition('?')[0]}"] = answer
    assert told["POST lint"]["findings"] == []
    assert "Each household can make up to 4 visits a year." in told["GET explain"]["text"]
    assert told["POST simulate"]["result"]["new_service"]
    assert told["POST approve"]["state"] == "approved"
    assert told["POST schedule"]["state"] == "scheduled"
    assert (told["POST publish"]["state"], told["POST publish"]["published_version"]) == ("published", 1)
    assert told["GET watch"]["sentences"] == ["Nobody has tapped since version 1 came into force."]
    assert (told["POST rollback"]["version"], told["POST rollback"]["same_as"]) == (3, 1)
    assert [(one["version"], one["state"]) for one in told["GET versions"]["items"]] == [
        (3, "published"),
        (2, "superseded"),
        (1, "superseded"),
    ]
    assert [one["state"] for one in told["GET drafts"]["items"]] == ["draft", "published", "published"]
    assert (await service.call("GET", "/v1/services", roles=AUTHOR))[1]["items"] == []


async def test_whoever_types_the_commands_has_a_service_and_can_take_it_back(service: Service, tmp_path: Path) -> None:
    await _places(service)
    document = tmp_path / "garden.json"
    draft, told = "", dict[str, str]()
    for words in commands():
        assert words[:2] == ["cardservice", "service"]
        step, roles = words[2], COLLEAGUE if words[2] == "approve" else AUTHOR
        if step == "rollback":
            await _another_version(service)
        elif step == "diff":
            document.write_text(document.read_text("utf-8").replace('"max": 4', '"max": 6'), encoding="utf-8")
        # The page's dates will be over one day.
        typed = [word.replace("DRAFT", draft).replace("2027-", "2099-") for word in words[1:]]
        said = told[step] = await _type(service, roles, tmp_path, typed)
        if step == "new":
            shutil.copy(GUIDE / "example" / "service.json", document)
        elif step == "submit":
            draft = re.findall(r"draft ([0-9a-f-]{36})", said)[0]
    assert "Nothing to object to." in told["lint"]
    assert "Each household can make up to 4 visits a year." in told["explain"]
    assert "At WCC Parks" in told["explain"]
    assert "Each household can make up to 4 visits a year." in told["approve"]
    assert "published as version 1" in told["publish"]
    assert "version 3 is in force, with the rules of version 1" in told["rollback"]
    assert told_change() in told["diff"]
    assert SERVICE in told["list"]


async def _type(service: Service, roles: str, folder: Path, words: list[str]) -> str:
    """What a command says to somebody with these roles."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RESCARD_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cardservice", *words),
        cwd=folder,
        env=kept | {"RESCARD_URL": service.url, "RESCARD_TOKEN": await service.token(roles=roles)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, (words, out.decode())
    return out.decode()


async def _another_version(service: Service) -> None:
    """A second version, so that there is one to go back from; its change is told as the page quotes it."""
    status, draft = await service.call("POST", "/v1/drafts", {"service_id": SERVICE, "from_version": 0}, roles=AUTHOR)
    assert status == 201
    name, text = draft["draft_id"], draft["text"].replace('"max": 4', '"max": 6')
    status, _ = await service.call("PUT", f"/v1/drafts/{name}", {"version": 1, "text": text}, roles=AUTHOR)
    assert status == 200
    _, told = await service.call("GET", f"/v1/drafts/{name}/explain", roles=AUTHOR)
    assert told["changes"] == [told_change()]
    await act(service, name, "submit")
    await act(service, name, "approve", {"why": "read"}, roles=COLLEAGUE)
    await act(service, name, "publish")


async def test_staff_can_say_why_somebody_was_refused_as_the_guide_shows(service: Service, tmp_path: Path) -> None:
    await add_site(service)
    await published(service, gym())
    reader = await enrolled_reader(service)
    names = {"given_name": "Juniper", "family_name": "Exampleton", "date_of_birth": "2015-02-03"}
    _, person = await service.call("POST", "/v1/people", names)
    _, card = await service.call("POST", "/v1/cards", {"person_id": person["person_id"]})
    tap = reader.tap(card=card["card_id"], outcome="deny", reason="not_eligible")
    status, _ = await reader.upload(tap)
    assert status == 200
    text = (GUIDE / "refusals.md").read_text("utf-8")
    (command,) = re.findall(r"^```sh\ncardservice (.*)\n```$", text, flags=re.MULTILINE)
    (shown,) = re.findall(r"^```text\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    said = await _type(service, "desk", tmp_path, shlex.split(command.replace("TAP", str(tap["tap_id"]))))
    assert shown in said
    assert "Facts then" in said


def test_every_call_that_the_page_names_in_passing_exists() -> None:
    known = {(each.method, re.sub(r"\{\w+\}", "X", each.path)) for each in endpoints()}
    named = re.findall(r"`(GET|POST|PUT) (/\S+)`", page())
    assert named
    assert [each for each in named if (each[0], re.sub("DRAFT|JOB", "X", each[1])) not in known] == []
