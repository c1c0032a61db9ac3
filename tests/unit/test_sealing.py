"""What is kept sealed in the database."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.errors import UnsealError
from cardservice.keys.sealing import Sealed, Sealer

SECRET = b"a key-encryption key of the tests, long enough"


@given(st.binary(max_size=400), st.text(max_size=40).filter(lambda text: text.isprintable()))
def test_what_is_sealed_comes_back_and_shows_nothing(plain: bytes, name: str):
    sealer = Sealer(SECRET, Sealed.SIGNING_KEYS)
    sealed = sealer.seal(name, plain)
    assert sealer.unseal(name, sealed) == plain
    assert len(plain) < 4 or plain not in sealed
    assert sealed != sealer.seal(name, plain)


@given(st.data())
def test_a_row_that_somebody_altered_does_not_open(data: st.DataObject):
    sealer = Sealer(SECRET, Sealed.SIGNING_KEYS)
    sealed = bytearray(sealer.seal("wcc-1", b"the private key"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(UnsealError):
        sealer.unseal("wcc-1", bytes(sealed))


@given(st.binary(max_size=60))
def test_rubbish_is_refused_by_name(rubbish: bytes):
    with pytest.raises(UnsealError, match="wcc-1"):
        Sealer(SECRET, Sealed.SIGNING_KEYS).unseal("wcc-1", rubbish)


def test_a_key_of_one_council_does_not_open_as_the_key_of_another():
    sealer = Sealer(SECRET, Sealed.SIGNING_KEYS)
    with pytest.raises(UnsealError):
        sealer.unseal("rbkc-1", sealer.seal("wcc-1", b"the private key"))


def test_neither_another_secret_nor_another_use_of_it_opens_a_key():
    sealed = Sealer(SECRET, Sealed.SIGNING_KEYS).seal("wcc-1", b"the private key")
    for other in (Sealer(b"x" * 40, Sealed.SIGNING_KEYS), Sealer(SECRET, Sealed.REPLIES)):
        with pytest.raises(UnsealError):
            other.unseal("wcc-1", sealed)
