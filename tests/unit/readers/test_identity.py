"""Identity: the reader's key must stay its own, and be gone when the reader is revoked."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from readers.errors import IdentityError
from readers.identity import ENROLMENT_FILE, KEY_FILE, Enrolment, Identity
from tests.unit.readers.kit.council import Council


def enrolment(council: Council) -> Enrolment:
    return Enrolment(
        reader_id="r-1", tenant="wcc", site="porchester", feeds=("wcc/leisure",), feed_keys=council.feed_keys
    )


def test_the_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    first = Identity(tmp_path).thumbprint
    path = tmp_path / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity(tmp_path).thumbprint == first


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    Identity(tmp_path).thumbprint  # noqa: B018 -- makes the key
    (tmp_path / KEY_FILE).chmod(0o640)
    with pytest.raises(IdentityError, match="0640"):
        _ = Identity(tmp_path).key


@pytest.mark.parametrize("name", [KEY_FILE, ENROLMENT_FILE])
def test_a_damaged_identity_says_what_to_do(tmp_path: Path, council: Council, name: str) -> None:
    identity = Identity(tmp_path)
    _ = identity.key
    identity.accept(enrolment(council))
    (tmp_path / name).write_bytes(b"{")
    again = Identity(tmp_path)
    with pytest.raises(IdentityError, match="enrol this reader anew"):
        _ = (again.key, again.enrolment)


def test_trust_anchors_that_are_no_keys_are_refused_and_nothing_is_kept(tmp_path: Path, council: Council) -> None:
    wrong = msgspec.structs.replace(enrolment(council), feed_keys={"wcc": {"keys": [{"kty": "EC"}]}})
    with pytest.raises(IdentityError, match="feed keys of wcc"):
        Identity(tmp_path).accept(wrong)
    assert Identity(tmp_path).enrolment is None


def test_an_unknown_tenant_has_no_trust_anchors(tmp_path: Path, council: Council) -> None:
    identity = Identity(tmp_path)
    identity.accept(enrolment(council))
    assert len(identity.feed_keys("wcc")) == 1
    assert len(identity.feed_keys("rbkc")) == 0


def test_wiping_leaves_no_key_no_cache_and_the_taps(tmp_path: Path, council: Council) -> None:
    identity = Identity(tmp_path)
    _ = identity.key
    identity.accept(enrolment(council))
    (tmp_path / "feeds" / "wcc~leisure").mkdir(parents=True)
    (tmp_path / "outbox.db").write_bytes(b"taps")
    identity.wipe()
    assert {path.name for path in tmp_path.iterdir()} == {"outbox.db"}
    assert identity.enrolment is None
