"""If these fail, somebody puts in force what nobody else has read, or two colleagues are taken for one."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cardservice.administration import add_token
from cardservice.app import PLATFORM
from cardservice.catalogue.command.telling import people
from cardservice.errors import RefusedError
from tests.support.life import gym, text_of
from tests.support.reader import add_site
from tests.support.service import Service


async def token(service: Service, label: str, person: str | None = None, *, roles: str = "manager") -> str:
    """A new token of an administrator's making."""
    body = {"label": label, "roles": [roles]} | ({} if person is None else {"person": person})
    status, made = await service.call("POST", "/v1/tokens", body)
    assert status == 201, made
    assert made["person"] == (None if person is None else person.lower())
    return str(made["token"])


async def by(service: Service, whose: str, path: str, body: Any = None, *, method: str = "POST") -> tuple[int, Any]:
    """One call with a token."""
    headers = {"Authorization": f"Bearer {whose}", "Idempotency-Key": uuid.uuid4().hex}
    return await service.call(method, path, body, headers=headers)


async def submitted(service: Service, *writers: str) -> str:
    """The path of a draft that these tokens wrote, handed in."""
    await add_site(service)
    status, draft = await by(service, writers[0], "/v1/drafts", {"text": text_of(gym())})
    assert status == 201, draft
    path = f"/v1/drafts/{draft['draft_id']}"
    for number, writer in enumerate(writers[1:], 1):
        changed = {"version": number, "text": text_of(gym(title=f"Gym {number}"))}
        assert (await by(service, writer, path, changed, method="PUT"))[0] == 200
    assert (await by(service, writers[0], f"{path}/submit"))[0] == 200
    return path


async def verdict(service: Service, whose: str, path: str) -> str:
    """What becomes of an approval: ``ok`` or the problem's code."""
    status, answer = await by(service, whose, f"{path}/approve", {"why": "I read it"})
    return "ok" if status == 200 else str(answer["code"])


async def test_nobody_approves_their_own_draft_with_a_second_token(service: Service) -> None:
    laptop, phone = await token(service, "laptop", "jo.smith"), await token(service, "phone", "Jo.Smith")
    path = await submitted(service, laptop)
    status, problem = await by(service, phone, f"{path}/approve", {"why": "it is mine"})
    assert (status, problem["code"]) == (403, "second_person_needed")
    assert (problem["authors"], problem["you"]) == (["person:jo.smith"], "person:jo.smith")
    assert problem["fields"][0]["at"].startswith("line 1")
    colleague = await token(service, "laptop", "sam@wcc.example")
    assert await verdict(service, colleague, path) == "ok"


async def test_nobody_approves_what_they_wrote_a_part_of_with_another_token(service: Service) -> None:
    first, second = await token(service, "a", "jo"), await token(service, "b", "sam")
    path = await submitted(service, first, second)
    for label, person in (("c", "jo"), ("d", "sam")):
        again = await token(service, label, person)
        assert await verdict(service, again, path) == "second_person_needed"
    assert await verdict(service, await token(service, "a", "kim"), path) == "ok"


async def test_two_colleagues_whose_tokens_have_one_label_do_not_block_each_other(service: Service) -> None:
    path = await submitted(service, await token(service, "service desk", "jo"))
    assert await verdict(service, await token(service, "service desk", "sam"), path) == "ok"


async def test_tokens_that_name_nobody_go_on_by_their_label(service: Service) -> None:
    path = await submitted(service, await token(service, "Jo Smith"))
    assert await verdict(service, await token(service, "jo smith"), path) == "second_person_needed"
    assert await verdict(service, await token(service, "Sam"), path) == "ok"


async def test_an_old_label_that_is_a_persons_name_is_that_person(service: Service) -> None:
    path = await submitted(service, await token(service, "Jo"))
    assert await verdict(service, await token(service, "new laptop", "jo"), path) == "second_person_needed"
    assert await verdict(service, await token(service, "new laptop", "sam"), path) == "ok"


async def test_an_approval_by_an_author_is_worth_nothing_when_it_comes_to_publishing(service: Service) -> None:
    """Behind the API's back: the approval is looked at again."""
    first = await token(service, "a", "jo")
    path = await submitted(service, first)
    assert await verdict(service, await token(service, "b", "sam"), path) == "ok"
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        await conn.execute("UPDATE draft SET authors = ARRAY['token:SAM']")
    status, problem = await by(service, first, f"{path}/publish", {"why": "now"})
    assert (status, problem["code"]) == (409, "draft_not_approved")


async def test_the_audit_and_the_draft_say_the_person_and_the_token(service: Service) -> None:
    path = await submitted(service, await token(service, "laptop", "jo"))
    assert await verdict(service, await token(service, "desk 3", "sam"), path) == "ok"
    draft = (await service.call("GET", path))[1]
    assert draft["authors"] == ["person:jo"]
    assert draft["approvals"][0]["approved_by"] == "person:sam"
    told = {event["what"]: event["who"] for event in draft["events"]}
    assert told["approved"] == "person:sam token:desk 3"
    assert people([told["approved"], "person:jo", "token:Ann Example"]) == "sam (desk 3), jo, Ann Example"
    assert people(["schedule for person:jo token:laptop"]) == "schedule for jo (laptop)"
    assert people(["token:person:boss token:x"]) == "person:boss token:x", "a label makes nobody a person"
    async with service.app[PLATFORM].db.transaction("wcc", read_only=True) as conn:
        made = await conn.fetch("SELECT detail FROM audit WHERE action = 'token.created' ORDER BY audit_id")
        actors = {row["actor"] for row in await conn.fetch("SELECT actor FROM audit WHERE action LIKE 'draft.%'")}
    assert [row["detail"]["person"] for row in made] == ["jo", "sam"]
    assert actors == {"person:jo token:laptop", "person:sam token:desk 3"}
    listed = (await service.call("GET", "/v1/tokens", roles="auditor"))[1]["items"]
    assert {(item["label"], item["person"]) for item in listed} >= {("laptop", "jo"), ("desk 3", "sam")}
    assert None in {item["person"] for item in listed}


@pytest.mark.parametrize("person", ["", " jo", "jo smith", "jo\n", "jo:x", "Jö", "-jo", "j" * 101, "аdmin"])
async def test_a_person_who_could_look_like_another_is_not_named(service: Service, person: str) -> None:
    body = {"label": "x", "roles": ["manager"], "person": person}
    status, problem = await service.call("POST", "/v1/tokens", body)
    assert (status, problem["fields"][0]["at"]) == (422, "/person")
    with pytest.raises(RefusedError, match="staff number"):
        await add_token(
            service.settings,
            tenant="wcc",
            label="x",
            person=person,
            roles=["manager"],
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
