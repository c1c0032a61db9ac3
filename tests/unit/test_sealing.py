"""What is kept sealed in the database."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cardservice.errors import UnsealError
from cardservice.keys.encryption import KeyEncryption, SecretKey
from cardservice.keys.sealing import MAX_DATA_KEYS, Sealed, Sealer

SECRET = b"a key-encryption key of the tests, long enough"
OTHER = b"another key-encryption key, as long as the first"
KEYS = KeyEncryption(SecretKey(SECRET))
VERSION_1 = "01000102030405060708090a0b84bfc7191856433080ea9493762e3af27ee5ab29c1cf560a7153bb4813f698"
"""``the private key`` of ``wcc-1`` under SECRET, as the first release wrote it."""


def _sealer(secret: bytes) -> Sealer:
    return Sealer(KeyEncryption(SecretKey(secret)), Sealed.SIGNING_KEYS)


@given(st.binary(max_size=400), st.text(max_size=40).filter(lambda text: text.isprintable()))
def test_what_is_sealed_comes_back_and_shows_nothing(plain: bytes, name: str):
    sealer = Sealer(KEYS, Sealed.SIGNING_KEYS)
    sealed = sealer.seal(name, plain)
    assert sealer.unseal(name, sealed) == plain
    assert len(plain) < 4 or plain not in sealed
    assert sealed != sealer.seal(name, plain)


@given(st.data())
def test_a_row_that_somebody_altered_does_not_open(data: st.DataObject):
    sealer = Sealer(KEYS, Sealed.SIGNING_KEYS)
    sealed = bytearray(sealer.seal("wcc-1", b"the private key"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(UnsealError):
        sealer.unseal("wcc-1", bytes(sealed))


@given(st.binary(max_size=60))
def test_rubbish_is_refused_by_name(rubbish: bytes):
    with pytest.raises(UnsealError, match="wcc-1"):
        Sealer(KEYS, Sealed.SIGNING_KEYS).unseal("wcc-1", rubbish)


def test_a_key_of_one_council_does_not_open_as_the_key_of_another():
    sealer = Sealer(KEYS, Sealed.SIGNING_KEYS)
    with pytest.raises(UnsealError):
        sealer.unseal("rbkc-1", sealer.seal("wcc-1", b"the private key"))


def test_neither_another_secret_nor_another_use_of_it_opens_a_key():
    sealed = Sealer(KEYS, Sealed.SIGNING_KEYS).seal("wcc-1", b"the private key")
    with pytest.raises(UnsealError, match="no setting names its key-encryption key"):
        _sealer(OTHER).unseal("wcc-1", sealed)
    with pytest.raises(UnsealError):
        Sealer(KEYS, Sealed.REPLIES).unseal("wcc-1", sealed)


def test_a_former_secret_still_opens_what_it_sealed_and_seals_nothing_more():
    sealed = _sealer(SECRET).seal("wcc-1", b"the private key")
    changed = Sealer(KeyEncryption(SecretKey(OTHER), [SecretKey(SECRET)]), Sealed.SIGNING_KEYS)
    assert changed.unseal("wcc-1", sealed) == b"the private key"
    again = changed.seal("wcc-1", b"the private key")
    assert _sealer(OTHER).unseal("wcc-1", again) == b"the private key"
    with pytest.raises(UnsealError):
        _sealer(SECRET).unseal("wcc-1", again)


def test_what_the_first_release_sealed_is_still_read():
    first = bytes.fromhex(VERSION_1)
    assert _sealer(SECRET).unseal("wcc-1", first) == b"the private key"
    with pytest.raises(UnsealError):
        _sealer(SECRET).unseal("rbkc-1", first)
    with pytest.raises(UnsealError):
        _sealer(OTHER).unseal("wcc-1", first)


@given(st.data())
def test_no_part_of_one_envelope_fits_into_another(data: st.DataObject):
    one, other = (Sealer(KEYS, Sealed.SIGNING_KEYS).seal("wcc-1", b"a key of one process") for _ in range(2))
    cut = data.draw(st.integers(1, len(one) - 1))
    mixed = one[:cut] + other[cut:]
    assume(mixed not in (one, other))
    with pytest.raises(UnsealError):
        Sealer(KEYS, Sealed.SIGNING_KEYS).unseal("wcc-1", mixed)


async def test_many_processes_data_keys_are_opened_and_only_so_many_are_kept():
    reader = _sealer(SECRET)
    for number in range(MAX_DATA_KEYS + 3):
        sealed = _sealer(SECRET).seal(f"key-{number}", b"plain")
        assert await reader.unseal_aside(f"key-{number}", sealed) == b"plain"
    assert len(reader._known) <= MAX_DATA_KEYS
