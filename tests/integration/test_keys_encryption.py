"""What seals the keys: changed, lost, or on a token; no card may be lost to it, and no secret told."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cardservice.app import PLATFORM
from cardservice.catalogue.tenants import FIRST_KEYS
from cardservice.db import Database
from cardservice.errors import KeyTokenError, SettingError
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.rewrap import rewrap
from cardservice.keys.sealing import Sealed, Sealer
from cardservice.settings import Settings
from tests.conftest import SECRET
from tests.support.registry import add_person, issue_card
from tests.support.service import Service, add_tenant, run_service
from tests.support.token import PIN, SoftToken, soft_token

NEW = "another secret, which is of at least thirty-two characters"
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "keys.md"
KEYS = 2 * len(FIRST_KEYS)
"""Signing keys of two new councils."""
HELD = 4712
"""An advisory lock of the test's own."""
PATIENCE_SECONDS = 60.0
SEALED_KINDS = {
    "PIN verifiers",
    "platform secrets",
    "remembered replies",
    "remembered requests",
    "signing keys",
    "tenant secrets",
}


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftToken]:
    with soft_token(tmp_path_factory.mktemp("token")) as made:
        yield made


def _changed(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


async def _rewrap(settings: Settings) -> dict[str, tuple[int, int]]:
    """Rows sealed anew, and rows left, by kind."""
    database = Database(settings.database_url, pool_size=2)
    await database.open()
    try:
        return {
            done.title: (done.rows, len(done.problems))
            async for done in rewrap(database, KeyEncryption.of(settings), batch=2)
        }
    finally:
        await database.close()


async def _somebody_with_secrets(service: Service) -> dict[str, Any]:
    """A card, a PIN, masters of the council, and a reply that is remembered."""
    card = await issue_card(service)
    assert (await service.call("PUT", f"/v1/people/{card['person_id']}/pin", {"pin": "8264"}))[0] in (200, 204)
    assert (await service.call("POST", "/v1/site-secrets/totp/rotate"))[0] in (200, 201)
    return card | {"reply": await service.call("POST", "/v1/tokens", {"label": "a", "roles": ["desk"]}, key="once")}


async def _octets(url: str) -> Mapping[str, list[bytes]]:
    """Every value of every bytea column of the database."""
    conn = await asyncpg.connect(url)
    try:
        columns = await conn.fetch(
            "SELECT table_name, column_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND data_type = 'bytea'"
        )
        return {
            f"{table}.{column}": [row[0] for row in await conn.fetch(f'SELECT "{column}" FROM "{table}"') if row[0]]
            for table, column in columns
        }
    finally:
        await conn.close()


async def _sealed_under(url: str, key: KeyEncryption) -> int:
    head = b"\x02" + key.current.key_id
    return sum(value.startswith(head) for values in (await _octets(url)).values() for value in values)


async def _two_councils(settings: Settings) -> None:
    await add_tenant(settings, "wcc", "Westminster City Council")
    await add_tenant(settings, "rbkc", "Royal Borough of Kensington and Chelsea")


async def test_a_changed_key_encryption_key_loses_nothing_and_the_old_one_opens_nothing_more(settings: Settings):
    await _two_councils(settings)
    async with run_service(settings) as service:
        card = await _somebody_with_secrets(service)
    new = _changed(settings, key_encryption_key=NEW, old_key_encryption_key=SECRET)
    async with run_service(new) as service:  # before anything is sealed anew the service works with both
        assert (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[0] == 200
        await issue_card(service)
        while_running = await _rewrap(new)
        assert set(while_running) == SEALED_KINDS
        assert all(rows and not left for rows, left in while_running.values()), while_running
        assert (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[0] == 200
    assert await _sealed_under(settings.database_url, KeyEncryption.of(settings)) == 0
    only_new = _changed(settings, key_encryption_key=NEW)
    assert await _sealed_under(settings.database_url, KeyEncryption.of(only_new)) > len(SEALED_KINDS)
    async with run_service(only_new) as service:
        assert (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[0] == 200
        again = await service.call("POST", "/v1/tokens", {"label": "a", "roles": ["desk"]}, key="once")
        assert again == card["reply"]
        masters = service.app[PLATFORM].masters
        async with service.app[PLATFORM].db.transaction("wcc") as conn:
            from cardservice.sitesecrets.masters import Kind

            assert [len(one.octets) for one in await masters.in_use(conn, "wcc", Kind.TOTP)] == [32]
    assert {title: rows for title, (rows, _) in (await _rewrap(only_new)).items()} == dict.fromkeys(SEALED_KINDS, 0)


async def test_a_service_with_the_wrong_key_encryption_key_does_not_start(settings: Settings):
    await _two_councils(settings)
    with pytest.raises(SettingError, match="RESCARD_KEY_ENCRYPTION_KEY"):
        async with run_service(_changed(settings, key_encryption_key=NEW)):
            pass
    assert await _rewrap(_changed(settings, key_encryption_key=NEW)) == {
        title: (0, KEYS if title == "signing keys" else 0) for title in SEALED_KINDS
    }, "and nothing is overwritten"
    async with run_service(settings) as service:
        await issue_card(service)


def _version_1(name: str, plain: bytes) -> bytes:
    """As the first release sealed signing keys."""
    info = Sealed.SIGNING_KEYS.value
    key = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(SECRET.encode())
    nonce = os.urandom(12)
    return b"\x01" + nonce + AESGCM(key).encrypt(nonce, plain, name.encode())


async def test_keys_of_the_first_release_sign_on_and_are_sealed_anew(settings: Settings):
    await _two_councils(settings)
    sealer = Sealer(KeyEncryption.of(settings), Sealed.SIGNING_KEYS)
    conn = await asyncpg.connect(settings.database_url)
    try:
        for row in await conn.fetch("SELECT kid, private_sealed FROM signing_key"):
            first = _version_1(row["kid"], sealer.unseal(row["kid"], row["private_sealed"]))
            await conn.execute("UPDATE signing_key SET private_sealed = $1 WHERE kid = $2", first, row["kid"])
        async with run_service(settings) as service:
            card = await issue_card(service)
        assert (await _rewrap(settings))["signing keys"] == (KEYS, 0)
        assert {row[0][:1] for row in await conn.fetch("SELECT private_sealed FROM signing_key")} == {b"\x02"}
    finally:
        await conn.close()
    async with run_service(settings) as service:
        assert (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[0] == 200


async def test_a_lost_key_encryption_key_costs_no_card_that_was_given_out(settings: Settings):
    """What docs/keys.md tells an operator to do then is done here word for word."""
    await _two_councils(settings)
    async with run_service(settings) as service:
        card = await _somebody_with_secrets(service)
    (todo,) = re.findall(r"```sql\n(.*?)```", GUIDE.read_text("utf-8"), flags=re.DOTALL)
    conn = await asyncpg.connect(settings.database_url)
    try:
        await conn.execute(todo)
    finally:
        await conn.close()
    only_new = _changed(settings, key_encryption_key=NEW)
    async with run_service(only_new) as service:
        for purpose in ("card", "feed", "status"):
            forced = {"purpose": purpose, "force": True, "reason": "key-encryption key lost"}
            assert (await service.call("POST", "/v1/keys/rotate", forced))[0] == 201
        async with service.http.get(f"{service.url}/v1/tenants/wcc/jwks.json") as response:
            keys = jwt.PyJWKSet.from_dict(await response.json())
        again = (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[1]["token"]
        for token in (card["token"], again):
            jwt.decode(token, key=keys[jwt.get_unverified_header(token)["kid"]], algorithms=["ES256"])
        assert (await service.call("PUT", f"/v1/people/{card['person_id']}/pin", {"pin": "8264"}))[0] == 200
    assert await _sealed_under(settings.database_url, KeyEncryption.of(only_new)) > 0
    left = {title: left for title, (_, left) in (await _rewrap(only_new)).items() if left}
    assert left == {"signing keys": KEYS, "tenant secrets": 1}, "they are retired, and opened by nobody any more"


def _environment(settings: Settings, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RESCARD_", "REDIS_URL"))}
    return kept | {"DATABASE_URL": settings.database_url} | more


async def _command(environment: Mapping[str, str], *arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cardservice", "keys", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_sealing_anew_may_be_killed_at_any_moment_and_is_simply_run_again(settings: Settings):
    await _two_councils(settings)
    async with run_service(settings) as service:
        card = await _somebody_with_secrets(service)
    environment = _environment(settings, RESCARD_KEY_ENCRYPTION_KEY=NEW, RESCARD_OLD_KEY_ENCRYPTION_KEY=SECRET)
    conn = await asyncpg.connect(settings.database_url)
    try:
        await conn.execute(
            "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN PERFORM pg_advisory_xact_lock({HELD}); RETURN NEW; END $$"
        )
        await conn.execute("CREATE TRIGGER held BEFORE UPDATE ON person_pin FOR EACH ROW EXECUTE FUNCTION hold()")
        await conn.execute(f"SELECT pg_advisory_lock({HELD})")
        killed = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cardservice", "keys", "rewrap", env=environment, stdout=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await conn.fetchval(
                f"SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = {HELD}"
            ):
                await conn.execute("SELECT pg_sleep(0.01)")
        killed.kill()
        await killed.wait()
        await conn.execute(f"SELECT pg_advisory_unlock({HELD})")
    finally:
        await conn.close()
    code, out, _ = await _command(environment, "check")
    assert code == 0
    assert f"signing keys                {KEYS}  current" in out, "what was done before stays done"
    assert "PIN verifiers               1  key" in out, "and what was under way is as it was"
    code, out, err = await _command(environment, "rewrap")
    assert (code, err) == (0, "")
    assert "signing keys                0 sealed anew" in out
    assert "PIN verifiers               1 sealed anew" in out
    code, out, _ = await _command(_environment(settings, RESCARD_KEY_ENCRYPTION_KEY=NEW), "check")
    assert (code, "anew" in out) == (0, False)
    async with run_service(_changed(settings, key_encryption_key=NEW)) as service:
        assert (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[0] == 200


async def test_an_operator_is_told_that_a_key_encryption_key_is_missing_before_it_is_thrown_away(settings: Settings):
    await _two_councils(settings)
    code, out, _ = await _command(_environment(settings, RESCARD_KEY_ENCRYPTION_KEY=NEW), "check")
    assert code == 1
    assert f"signing keys                {KEYS}  key" in out
    assert "which no setting names" in out
    code, _, err = await _command(_environment(settings, RESCARD_KEY_ENCRYPTION_KEY=NEW), "rewrap")
    assert code == 1
    assert f"{KEYS} rows were left as they are" in err


async def test_keys_move_from_a_file_into_a_token_that_never_gives_its_key_away(settings: Settings, token: SoftToken):
    await _two_councils(settings)
    async with run_service(settings) as service:
        card = await _somebody_with_secrets(service)
    address = token.address("kek-moved")
    environment = _environment(settings, RESCARD_KEY_ENCRYPTION_TOKEN=address, RESCARD_OLD_KEY_ENCRYPTION_KEY=SECRET)
    code, out, err = await _command(environment, "create-token-key")
    assert (code, err) == (0, "")
    assert PIN not in out
    assert "there is a key kek-moved on the token already" in (await _command(environment, "create-token-key"))[2]
    assert (await _command(environment, "rewrap"))[0] == 0
    on_token = _changed(settings, key_encryption_key=None, key_encryption_token=address)
    async with run_service(on_token) as service:
        assert (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[0] == 200
        again = await service.call("POST", "/v1/tokens", {"label": "a", "roles": ["desk"]}, key="once")
        assert again == card["reply"]
        assert (await service.call("POST", "/v1/keys"))[0] == 201
    assert await _sealed_under(settings.database_url, KeyEncryption.of(settings)) == 0


async def test_a_token_pulled_out_stops_no_card_of_a_running_service(settings: Settings, token: SoftToken):
    address = token.address("kek-pulled")
    on_token = _changed(settings, key_encryption_key=None, key_encryption_token=address)
    await asyncio.to_thread(_make_key, on_token)
    await add_tenant(on_token, "wcc", "Westminster City Council")
    async with run_service(on_token) as service:
        card = await issue_card(service)
        await add_tenant(on_token, "rbkc", "Royal Borough of Kensington and Chelsea")
        with token.pulled_out():
            assert (await service.call("GET", f"/v1/cards/{card['card_id']}/code"))[0] == 200
            await issue_card(service)
            assert (await service.call("POST", "/v1/keys"))[0] == 201, "its own data key is at hand"
            # The other council was added from the command line meanwhile, and its key not used here yet.
            person = await add_person(service, tenant="rbkc")
            status, problem = await service.call("POST", "/v1/cards", {"person_id": person}, tenant="rbkc")
            assert (status, problem["code"]) == (503, "key_token_away")
            with pytest.raises(SettingError, match="RESCARD_KEY_ENCRYPTION_TOKEN"):
                async with run_service(on_token):
                    pass
        status, _ = await service.call("POST", "/v1/cards", {"person_id": person}, tenant="rbkc")
        assert status == 201, "the token is back, and the service was not restarted"


def _make_key(settings: Settings) -> None:
    key = KeyEncryption.of(settings).current
    key.create()  # type: ignore[attr-defined]


async def test_a_wrong_pin_or_key_is_told_at_start_by_the_setting_and_without_the_pin(
    settings: Settings, token: SoftToken
):
    wrong = token.folder / "wrong-pin"
    wrong.write_text("9999")
    empty = token.folder / "no-pin"
    empty.write_text("\n")
    await asyncio.to_thread(
        _make_key, _changed(settings, key_encryption_key=None, key_encryption_token=token.address("kek"))
    )
    for address, told in (
        (token.address("kek", pin_file=wrong), "PinIncorrect"),
        (token.address("kek", pin_file=empty), "is empty"),
        (token.address("kek", pin_file=token.folder / "nothing"), "No such file"),
        (token.address("nobody"), "it has no AES key nobody"),
        (token.address("kek").replace("token=rescard-test", "token=elsewhere"), "NoSuchToken"),
        (token.address("kek").replace(str(token.module), "/nowhere.so"), "cannot open shared object"),
    ):
        encryption = KeyEncryption.of(_changed(settings, key_encryption_key=None, key_encryption_token=address))
        with pytest.raises(SettingError, match=told) as caught:
            await asyncio.to_thread(encryption.open)
        assert caught.value.setting == "RESCARD_KEY_ENCRYPTION_TOKEN"
        assert "9999" not in str(caught.value)
    old = _changed(settings, old_key_encryption_token=token.address("nobody"))
    with pytest.raises(SettingError) as caught:
        await asyncio.to_thread(KeyEncryption.of(old).open)
    assert caught.value.setting == "RESCARD_OLD_KEY_ENCRYPTION_TOKEN"


async def test_a_key_that_could_be_read_out_of_the_token_is_not_used(settings: Settings, token: SoftToken):
    import pkcs11

    def make() -> Any:
        made = pkcs11.lib(str(token.module)).get_token(token_label="rescard-test")
        with made.open(rw=True, user_pin=PIN) as session:
            template = {pkcs11.Attribute.EXTRACTABLE: True, pkcs11.Attribute.SENSITIVE: False}
            session.generate_key(pkcs11.KeyType.AES, 256, label="open", store=True, template=template)
        _make_key(_changed(settings, key_encryption_key=None, key_encryption_token=token.address("closed")))
        with made.open(user_pin=PIN) as session:
            key = session.get_key(label="closed", object_class=pkcs11.ObjectClass.SECRET_KEY)
            with pytest.raises(pkcs11.AttributeSensitive):
                _ = key[pkcs11.Attribute.VALUE]
            return key[pkcs11.Attribute.NEVER_EXTRACTABLE]

    assert await asyncio.to_thread(make)
    weak = _changed(settings, key_encryption_key=None, key_encryption_token=token.address("open"))
    with pytest.raises(SettingError, match="can be read out of the token"):
        await asyncio.to_thread(KeyEncryption.of(weak).open)


async def test_altered_bytes_are_told_from_a_token_that_is_away(settings: Settings, token: SoftToken):
    on_token = _changed(settings, key_encryption_key=None, key_encryption_token=token.address("kek-bits"))
    await asyncio.to_thread(_make_key, on_token)
    key = KeyEncryption.of(on_token).current

    def try_bits() -> None:
        wrapped = key.wrap(b"k" * 32, b"what")
        assert key.unwrap(wrapped, b"what") == b"k" * 32
        assert key.unwrap(wrapped, b"other") is None
        for at in (0, 11, 12, 43, 44, 59):
            altered = bytearray(wrapped)
            altered[at] ^= 1
            assert key.unwrap(bytes(altered), b"what") is None
        with token.pulled_out(), pytest.raises(KeyTokenError):
            key.unwrap(wrapped, b"what")
        assert key.unwrap(wrapped, b"what") == b"k" * 32

    await asyncio.to_thread(try_bits)
