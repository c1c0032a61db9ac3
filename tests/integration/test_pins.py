"""A person's PIN at the desk: nobody else learns it, from no reply, no audit, no row and no log."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from cardservice.app import PLATFORM
from cardservice.pins.office import sealed_name
from tests.support.registry import add_person
from tests.support.service import Service
from tests.support.state import resident

PIN = "84730167"


async def everything(service: Service) -> str:
    """Every row of every table, as text: what a thief of the database reads."""
    connection = await asyncpg.connect(service.settings.database_url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = [await connection.fetch(f"SELECT t::text FROM {table['tablename']} t") for table in tables]
    finally:
        await connection.close()
    return "\n".join(row[0] for each in rows for row in each)


async def audited(service: Service, person_id: str) -> list[dict[str, Any]]:
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        rows = await conn.fetch(
            "SELECT action, detail FROM audit WHERE subject = $1 AND action LIKE 'pin.%' ORDER BY audit_id",
            f"person:{person_id}",
        )
    return [{"action": row["action"], **row["detail"]} for row in rows]


async def test_a_pin_is_set_changed_unlocked_and_cleared_and_known_to_nobody(
    service: Service, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    person_id = await add_person(service)
    path = f"/v1/people/{person_id}/pin"
    assert (await service.call("GET", path, roles="desk"))[1] == {
        "person_id": person_id,
        "is_set": False,
        "version": 0,
        "changed_at": None,
    }
    status, first = await service.call("PUT", path, {"pin": PIN}, roles="desk")
    assert (status, first["is_set"], first["version"]) == (200, True, 1)
    assert (await service.call("GET", path, roles="auditor"))[1] == first
    assert (await service.call("PUT", path, {"pin": "90213348"}, roles="desk"))[1]["version"] == 2
    assert (await service.call("POST", f"{path}/unlock", roles="desk"))[1]["version"] == 3
    status, cleared = await service.call("DELETE", path, roles="desk")
    assert (status, cleared["is_set"], cleared["version"]) == (200, False, 4)
    # A PIN after that is a new one to every gate.
    assert (await service.call("PUT", path, {"pin": PIN}, roles="desk"))[1]["version"] == 5
    assert await audited(service, person_id) == [
        {"action": "pin.set", "version": 1},
        {"action": "pin.set", "version": 2},
        {"action": "pin.unlocked", "version": 3},
        {"action": "pin.cleared", "version": 4},
        {"action": "pin.set", "version": 5},
    ]
    stolen = await everything(service) + caplog.text + "".join(capfd.readouterr())
    for secret in (PIN, "90213348", "argon2id"):
        assert secret not in stolen
        assert secret.encode().hex() not in stolen


async def test_the_stored_verifier_proves_the_pin_and_opens_for_its_person_only(service: Service) -> None:
    person_id, other = await add_person(service), await add_person(service)
    assert (await service.call("PUT", f"/v1/people/{person_id}/pin", {"pin": PIN}))[0] == 200
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as conn:
        row = await conn.fetchrow("SELECT person_id, verifier_sealed FROM person_pin")
    verifier = platform.tenant_secrets.unseal(sealed_name("wcc", row["person_id"]), row["verifier_sealed"])
    Argon2id.verify_phc_encoded(PIN.encode(), verifier.decode())
    for name in (f"pin/wcc/{other}", f"pin/rbkc/{person_id}"):
        with pytest.raises(Exception, match="does not open"):
            platform.tenant_secrets.unseal(name, row["verifier_sealed"])


async def test_a_refusal_does_not_say_the_pin_again(service: Service) -> None:
    person_id = await add_person(service, date_of_birth="1974-03-09")
    weak: list[Any] = ["1234", "777777", "090374", "83", "84730155512", "84-73"]
    for pin, code in [*((each, "weak_pin") for each in weak), ("8" * 65, "wrong_values"), (847301, "wrong_values")]:
        status, problem = await service.call("PUT", f"/v1/people/{person_id}/pin", {"pin": pin}, roles="desk")
        assert (status, problem["code"], problem["fields"][0]["at"]) == (422, code, "/pin")
        del problem["request_id"]  # by chance it has any two digits
        assert str(pin) not in json.dumps(problem)
    assert (await service.call("GET", f"/v1/people/{person_id}/pin"))[1]["is_set"] is False


async def test_sending_the_same_request_again_is_safe_and_gives_nothing_away(service: Service) -> None:
    person_id = await add_person(service)
    path = f"/v1/people/{person_id}/pin"
    first = await service.call("PUT", path, {"pin": PIN}, key="one")
    assert await service.call("PUT", path, {"pin": PIN}, key="one") == first
    assert (await service.call("GET", path))[1]["version"] == 1
    # Another PIN under the same key is another request: the service knows it without having kept either.
    status, problem = await service.call("PUT", path, {"pin": "90213348"}, key="one")
    assert (status, problem["code"]) == (422, "idempotency_key_reused")


async def test_a_digest_in_a_stolen_database_does_not_lead_back_to_the_pin(service: Service) -> None:
    person_id = await add_person(service)
    path = f"/v1/people/{person_id}/pin"
    for key in ("one", "two"):
        assert (await service.call("PUT", path, {"pin": PIN}, key=key))[0] == 200
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as conn:
        rows = await conn.fetch("SELECT actor, key, request_sha256 FROM idempotency WHERE key IN ('one', 'two')")
    # The digest itself would be the same for the same request, and is found by trying a million bodies.
    digests = {
        platform.replies.unseal(f"wcc\n{row['actor']}\n{row['key']}\nrequest", row["request_sha256"]) for row in rows
    }
    assert [len(digest) for digest in digests] == [32]
    assert len({row["request_sha256"] for row in rows}) == 2
    # What a service of before has stored plainly still answers once.
    first = await service.call("POST", f"{path}/unlock", key="old")
    async with platform.db.transaction("wcc") as conn:
        row = await conn.fetchrow("SELECT actor, request_sha256 FROM idempotency WHERE key = 'old'")
        plain = platform.replies.unseal(f"wcc\n{row['actor']}\nold\nrequest", row["request_sha256"])
        await conn.execute("UPDATE idempotency SET request_sha256 = $1 WHERE key = 'old'", plain)
    assert await service.call("POST", f"{path}/unlock", key="old") == first
    assert (await service.call("DELETE", path, key="old"))[0] == 422


async def test_without_a_pin_there_is_nothing_to_clear_or_unlock(service: Service) -> None:
    person_id = await add_person(service)
    nobody = "0b0d1f5e-2f0a-4f57-9d53-5a3a6f6d0c11"
    for person in (person_id, nobody):
        assert (await service.call("DELETE", f"/v1/people/{person}/pin"))[0] == 404
        assert (await service.call("POST", f"/v1/people/{person}/pin/unlock"))[0] == 404
    assert (await service.call("PUT", f"/v1/people/{nobody}/pin", {"pin": PIN}))[0] == 404
    assert (await service.call("GET", f"/v1/people/{nobody}/pin"))[0] == 404
    assert await audited(service, person_id) == []


async def test_only_the_desk_sets_pins_and_only_of_its_own_council(service: Service) -> None:
    person_id = (await resident(service))["person_id"]
    path = f"/v1/people/{person_id}/pin"
    for roles in ("manager", "operator", "auditor"):
        assert (await service.call("PUT", path, {"pin": PIN}, roles=roles))[0] == 403
        assert (await service.call("DELETE", path, roles=roles))[0] == 403
    assert (await service.call("PUT", path, {"pin": PIN}, tenant="rbkc"))[0] == 404
    assert (await service.call("PUT", path, {"pin": PIN}))[0] == 200
    assert (await service.call("GET", path, tenant="rbkc"))[0] == 404
    async with service.app[PLATFORM].db.transaction("rbkc") as conn:
        assert await conn.fetchval("SELECT count(*) FROM person_pin") == 0
