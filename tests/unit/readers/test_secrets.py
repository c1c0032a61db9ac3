"""What a site keeps secret: there after an offline restart, gone when not needed, no thief's with one file of two."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entitlements.credential.es256 import generate_private_key
from entitlements.credential.sitesecrets import NO_SECRETS
from entitlements.wire.secrets import SecretsPage
from readers.sealed import SealedFile, reseal
from readers.secrets import SECRETS_FILE
from tests.unit.readers.kit import pins
from tests.unit.readers.kit.council import Council
from tests.unit.readers.kit.doubles import Devices
from tests.unit.readers.kit.rig import rig
from tests.unit.readers.kit.site import running, site_settings, until

KEY = generate_private_key()
MASTER = bytes(range(32))


def with_master(tag: str = "m-1", **members: object) -> SecretsPage:
    text = base64.urlsafe_b64encode(MASTER).rstrip(b"=").decode()
    return SecretsPage(tag=tag, totp={"wcc": [text]}, **members)  # type: ignore[arg-type]


def test_what_was_sealed_is_read_back_by_its_reader_alone(tmp_path: Path) -> None:
    file = SealedFile(tmp_path / "s")
    assert file.read(KEY) is None
    file.write(KEY, b"masters and verifiers")
    assert file.read(KEY) == b"masters and verifiers"
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert b"masters" not in file.path.read_bytes()
    with pytest.raises(ValueError, match="another key"):
        file.read(generate_private_key())


@given(place=st.integers(0, 59), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_noticed_and_never_believed(tmp_path: Path, place: int, bit: int, cut: bool) -> None:
    file = SealedFile(tmp_path / "s")
    file.write(KEY, b"masters and verifiers...")
    raw = bytearray(file.path.read_bytes())
    assert len(raw) == 60
    raw[place] ^= 1 << bit
    file.path.write_bytes(raw[:place] if cut else raw)
    with pytest.raises(ValueError, match=r"damaged|no sealed file"):
        file.read(KEY)


def test_a_reader_whose_key_was_rolled_offline_keeps_its_secrets(tmp_path: Path) -> None:
    new = generate_private_key()
    reseal(tmp_path / "s", KEY, new)  # nothing there
    file = SealedFile(tmp_path / "s")
    file.write(KEY, b"content")
    reseal(file.path, KEY, new)
    assert file.read(new) == b"content"


async def test_an_offline_restart_still_knows_masters_and_pins(tmp_path: Path) -> None:
    council = Council()
    card = council.issue(in_snapshot=True)
    page = with_master(pins=[pins.verifier(card)], pin_tenants=["wcc"])
    async with rig(tmp_path, council=council, secrets=page) as site:
        assert site.daemon.gate.secrets.totp == {"wcc": (MASTER,)}
        url = site.service.url
    on_disk = (tmp_path / SECRETS_FILE).read_bytes()
    assert pins.verifier(card).verifier.encode() not in on_disk
    async with running(site_settings(url, tmp_path), Devices(), code=None) as daemon:
        assert daemon.gate.secrets.totp == {"wcc": (MASTER,)}
        assert daemon.secrets.verifier(("wcc", card.claims.index, card.tag)) is not None
        assert daemon.secrets.knows_pins_of("wcc")
        assert not daemon.secrets.knows_pins_of("rbkc")


async def test_a_change_is_pulled_at_the_next_beat_and_an_unchanged_page_not_again(tmp_path: Path) -> None:
    async with rig(tmp_path, secrets=with_master()) as site:
        service = site.service
        await service.until(lambda: service.streams_opened > 0)
        service.secrets = with_master("m-2", pin_tenants=["wcc"])
        service.send(service.beat())
        await until(lambda: site.daemon.secrets.tag == "m-2")
        given_before = service.secrets_given
        await site.daemon.secrets.refresh()
        service.send(service.beat())
        assert service.secrets_given == given_before == 2


async def test_a_site_that_needs_no_secret_any_more_keeps_none(tmp_path: Path) -> None:
    async with rig(tmp_path, secrets=with_master()) as site:
        await until(lambda: (tmp_path / SECRETS_FILE).exists())
        site.service.secrets = SecretsPage(tag="none")
        await site.daemon.secrets.refresh()
        assert site.daemon.gate.secrets is NO_SECRETS or site.daemon.gate.secrets == NO_SECRETS
        assert not (tmp_path / SECRETS_FILE).exists()


async def test_a_damaged_file_is_set_aside_and_the_secrets_pulled_anew(tmp_path: Path) -> None:
    async with rig(tmp_path, secrets=with_master()) as site:
        await until(lambda: (tmp_path / SECRETS_FILE).exists())
        service = site.service
    (tmp_path / SECRETS_FILE).write_bytes(b"rotten")
    await service.start()
    try:
        async with running(site_settings(service.url, tmp_path), Devices(), code=None) as daemon:
            await until(lambda: daemon.gate.secrets.totp == {"wcc": (MASTER,)})
            await until(lambda: (tmp_path / SECRETS_FILE).exists())
        assert (tmp_path / f"{SECRETS_FILE}.damaged").read_bytes() == b"rotten"
    finally:
        await service.stop()


async def test_a_page_that_no_gate_can_use_leaves_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    async with rig(tmp_path, secrets=with_master()) as site:
        text = base64.urlsafe_b64encode(MASTER).rstrip(b"=").decode()
        site.service.secrets = SecretsPage(tag="m-2", totp={"wcc": [text] * 9})
        await site.daemon.secrets.refresh()
        assert site.daemon.gate.secrets.totp == {"wcc": (MASTER,)}
        assert any("cannot be used" in problem for problem in site.daemon.health.problems())


async def test_a_revoked_reader_holds_no_secret_in_memory_or_on_disk(tmp_path: Path) -> None:
    async with rig(tmp_path, secrets=with_master()) as site:
        await until(lambda: (tmp_path / SECRETS_FILE).exists())
        site.service.revoked = True
        await until(lambda: site.daemon.health.revoked and not (tmp_path / "enrolment.json").exists())
        assert site.daemon.gate.secrets == NO_SECRETS
        assert not (tmp_path / SECRETS_FILE).exists()
