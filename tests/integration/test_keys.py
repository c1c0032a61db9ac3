"""Signing keys: rollover without a refused card, revocation, and what the database gives away."""

from __future__ import annotations

import base64
from typing import Any

import asyncpg
import jwt
import pytest

from cardservice.app import PLATFORM
from cardservice.catalogue.tenants import FIRST_KEYS
from cardservice.db import queries
from cardservice.errors import UnsealError
from cardservice.keys.store import KeyStore
from cardservice.settings import Settings
from entitlements.credential.es256 import private_key_to_pem
from entitlements.credential.keys import KeySet, SigningKey
from entitlements.model import TenantId
from tests.support.keys import grown_up
from tests.support.registry import issue_card
from tests.support.service import Service


async def _jwks(service: Service, query: str = "", tenant: str = "wcc", **headers: str) -> tuple[int, Any, Any]:
    url = f"{service.url}/v1/tenants/{tenant}/jwks.json{query}"
    async with service.http.get(url, headers=headers) as response:
        body = await response.json() if response.status != 304 else {}
        return response.status, body, response.headers.copy()


async def _kids(service: Service) -> set[str]:
    return {key["kid"] for key in (await _jwks(service))[1]["keys"]}


async def _state(service: Service, kid: str) -> str:
    keys = (await service.call("GET", "/v1/keys", roles="auditor"))[1]["items"]
    return str(next(key["state"] for key in keys if key["kid"] == kid))


async def test_keys_roll_over_and_no_card_already_given_out_is_refused(service: Service):
    old_card = await issue_card(service)
    old_kid = jwt.get_unverified_header(old_card["token"])["kid"]
    status, key = await service.call("POST", "/v1/keys", {"purpose": "card"})
    assert (status, key["state"]) == (201, "published")
    assert await _kids(service) == {old_kid, key["kid"]}, "published before it signs"
    assert jwt.get_unverified_header((await issue_card(service))["token"])["kid"] == old_kid
    await grown_up(service, key["kid"])
    status, key = await service.call("POST", f"/v1/keys/{key['kid']}/activate")
    assert (status, key["state"]) == (200, "active")
    assert await _state(service, old_kid) == "retired"
    new_card = await issue_card(service)
    assert jwt.get_unverified_header(new_card["token"])["kid"] == key["kid"]
    keys = jwt.PyJWKSet.from_dict((await _jwks(service))[1])
    for card in (old_card, new_card):
        kid = jwt.get_unverified_header(card["token"])["kid"]
        assert jwt.decode(card["token"], key=keys[kid], algorithms=["ES256"])["jti"] == card["card_id"]
    again = (await service.call("GET", f"/v1/cards/{old_card['card_id']}/code"))[1]["token"]
    assert jwt.get_unverified_header(again)["kid"] == key["kid"], "a retired key signs nothing more"


async def test_no_key_is_made_with_which_gates_would_refuse_the_whole_set(
    service: Service, monkeypatch: pytest.MonkeyPatch
):
    """They would keep what they have, and never hear of a revocation."""
    store, made = service.app[PLATFORM].keys, SigningKey.generate
    first, twin = (made(TenantId("wcc")) for _ in range(2))
    drawn = iter([first, SigningKey.of(TenantId("wcc"), first.private, "wcc-another"), twin])
    monkeypatch.setattr(SigningKey, "generate", lambda _: next(drawn))
    answers = [await service.call("POST", "/v1/keys", {"purpose": "card"}) for _ in range(2)]
    assert [answer["kid"] for _, answer in answers] == [first.kid, twin.kid], "the second has another name in a CWT"
    monkeypatch.undo()
    monkeypatch.setattr("cardservice.keys.store.MAX_KEYS", len(await _kids(service)) + 1)
    assert (await service.call("POST", "/v1/keys", {"purpose": "card"}))[0] == 201
    status, problem = await service.call("POST", "/v1/keys", {"purpose": "card"})
    assert (status, problem["code"]) == (409, "too_many_keys")
    assert (await service.call("POST", f"/v1/keys/{twin.kid}/revoke"))[0] == 200
    assert (await service.call("POST", "/v1/keys", {"purpose": "card"}))[0] == 201
    async with service.app[PLATFORM].db.transaction("wcc", read_only=True) as conn:
        assert KeySet.from_jwks(TenantId("wcc"), await store.jwks(conn, "wcc", "card"))


async def test_the_only_signing_key_cannot_be_retired_by_a_slip(service: Service):
    (kid,) = await _kids(service)
    status, problem = await service.call("POST", f"/v1/keys/{kid}/retire")
    assert (status, problem["code"]) == (409, "key_state")
    assert "successor" in problem["detail"]
    assert (await service.call("POST", f"/v1/keys/{kid}/activate"))[0] == 409


async def test_a_stolen_key_is_believed_by_nobody_and_signs_nothing(service: Service):
    card = await issue_card(service)
    (kid,) = await _kids(service)
    assert (await service.call("POST", f"/v1/keys/{kid}/revoke"))[1]["state"] == "revoked"
    assert await _kids(service) == set()
    status, problem = await service.call("GET", f"/v1/cards/{card['card_id']}/code")
    assert (status, problem["code"]) == (409, "no_signing_key")
    assert (await service.call("POST", "/v1/cards", {"person_id": card["person_id"]}))[0] == 409
    key = (await service.call("POST", "/v1/keys"))[1]
    forced = {"force": True, "reason": "the old key was stolen"}
    assert (await service.call("POST", f"/v1/keys/{key['kid']}/activate", forced))[0] == 200
    assert (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[0] == 200
    for event in ("activate", "retire", "revoke"):
        assert (await service.call("POST", f"/v1/keys/{kid}/{event}"))[0] == 409


async def test_only_administrators_handle_keys(service: Service):
    (kid,) = await _kids(service)
    for roles in ("desk", "manager", "operator", "auditor"):
        assert (await service.call("POST", "/v1/keys", roles=roles))[0] == 403
        assert (await service.call("POST", f"/v1/keys/{kid}/revoke", roles=roles))[0] == 403
    assert (await service.call("POST", "/v1/keys/nobody/revoke"))[0] == 404
    assert (await service.call("POST", "/v1/keys", {"purpose": "tea"}))[0] == 422


async def test_relying_parties_may_keep_the_key_set_for_five_minutes(service: Service):
    status, body, headers = await _jwks(service)
    assert (status, headers["Cache-Control"]) == (200, "public, max-age=300")
    assert all(key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"} for key in body["keys"]), (
        "public halves only"
    )
    status, _, again = await _jwks(service, **{"If-None-Match": headers["ETag"]})
    assert (status, again["ETag"]) == (304, headers["ETag"])
    await service.call("POST", "/v1/keys")
    assert (await _jwks(service, **{"If-None-Match": headers["ETag"]}))[0] == 200


async def test_the_key_set_of_another_purpose_is_another_one(service: Service):
    feed = {key["kid"] for key in (await _jwks(service, "?purpose=feed"))[1]["keys"]}
    assert len(feed) == 1
    assert not feed & await _kids(service)


async def test_whoever_reads_status_lists_finds_their_key_before_the_first_list(service: Service):
    status, body, _ = await _jwks(service, "?purpose=status", tenant="rbkc")
    assert (status, len(body["keys"])) == (200, 1)
    async with service.http.get(f"{service.url}/v1/tenants/rbkc/status") as response:
        kid = jwt.get_unverified_header(await response.text())["kid"]
    assert kid == body["keys"][0]["kid"]


@pytest.mark.parametrize("tenant", ["nobody", "*", "%2A", "WCC", "x" * 100, "wcc%00"])
async def test_no_name_of_a_council_opens_the_keys_of_all(service: Service, tenant: str):
    status, problem, _ = await _jwks(service, tenant=tenant)
    assert (status, problem["code"]) == (404, "tenant_not_found")


async def test_a_stolen_database_signs_no_card(service: Service):
    platform = service.app[PLATFORM]
    async with platform.db.transaction("wcc") as conn:
        signer = await platform.keys.signer(conn, "wcc", "card")
    secret = signer.private.private_numbers().private_value.to_bytes(32, "big")
    conn = await asyncpg.connect(service.settings.database_url)
    try:
        rows = await conn.fetch("SELECT private_sealed, public_jwk::text FROM signing_key")
        assert len(rows) == 2 * len(FIRST_KEYS)
        forms = (
            secret,
            secret.hex().encode(),
            base64.b64encode(secret),
            base64.urlsafe_b64encode(secret).rstrip(b"="),
            private_key_to_pem(signer.private)[30:80],
            b"PRIVATE KEY",
        )
        for row in rows:
            for form in forms:
                assert form not in row["private_sealed"]
                assert form not in row["public_jwk"].encode()
    finally:
        await conn.close()


async def test_a_wrong_key_encryption_key_is_a_named_fault_and_never_a_wrong_signature(service: Service):
    other = Settings(database_url="postgresql://nowhere/x", key_encryption_key="another secret " * 4)
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        with pytest.raises(UnsealError, match="wcc-"):
            await KeyStore(other).signer(conn, "wcc", "card")


async def test_remembered_replies_do_not_give_a_token_away(service: Service):
    status, made = await service.call("POST", "/v1/tokens", {"label": "till", "roles": ["desk"]}, key="once")
    assert status == 201
    async with service.app[PLATFORM].db.transaction("wcc") as conn:
        kept = await queries().api.find_idempotent_answer(conn, tenant="wcc", actor="token:test-admin", key="once")
    assert made["token"].encode() not in kept["response"]
    again = await service.call("POST", "/v1/tokens", {"label": "till", "roles": ["desk"]}, key="once")
    assert again == (201, made)
