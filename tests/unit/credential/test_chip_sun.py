"""The chip's cryptography against published numbers: one wrong byte here and no chip card opens anything.

AN12196 and AN10922 are NXP's application notes, RFC 4493 and the Wycheproof file are independent of them.
"""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from entitlements.credential.errors import InvalidKeyError
from entitlements.credential.sun import (
    COUNTER_LIMIT,
    SV_ENCRYPTION,
    PiccData,
    cmac,
    decrypt_picc,
    diversify,
    mac_matches,
    message_mac,
    session_key,
)
from tests.support.vectors import published_json

FACTORY_KEY = bytes(16)
RFC4493_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
RFC4493_MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)


def picc(uid: str, counter: int) -> PiccData:
    return PiccData(uid=bytes.fromhex(uid), counter=counter)


@pytest.mark.parametrize(
    ("length", "mac"),
    [
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ],
)
def test_the_four_examples_of_rfc_4493(length: int, mac: str) -> None:
    assert cmac(RFC4493_KEY, RFC4493_MESSAGE[:length]).hex() == mac


def test_wycheproof_agrees_on_every_message_and_key() -> None:
    """Differences: none. Keys that are not AES-128 are refused, which is the answer for 192 and 256 bits as well."""
    groups = published_json("wycheproof", "aes_cmac_test.json")["testGroups"]
    checked = refused = 0
    for group in groups:
        for case in group["tests"]:
            key, message = bytes.fromhex(case["key"]), bytes.fromhex(case["msg"])
            if len(key) != 16:
                with pytest.raises(InvalidKeyError):
                    cmac(key, message)
                refused += 1
                continue
            same = cmac(key, message).hex()[: group["tagSize"] // 4] == case["tag"]
            assert same == (case["result"] == "valid"), case["tcId"]
            checked += 1
    assert (checked, refused) == (102, 209)


def test_the_example_of_an10922_for_aes_128() -> None:
    """AN10922 section 2.2.1: serial number, application 3042F5 and the system identifier "NXP Abu"."""
    master = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    diversity = bytes.fromhex("04782E21801D80" + "3042F5" + "4E585020416275")
    assert diversify(master, diversity).hex() == "a8dd63a3b89d54b37ca802473fda9175"


@pytest.mark.parametrize("length", [0, 15, 32])
def test_a_diversity_on_which_an10922_and_cmac_could_differ_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="diversity"):
        diversify(FACTORY_KEY, bytes(length))


def test_session_keys_of_an12196_table_1() -> None:
    key, read = bytes.fromhex("5ACE7E50AB65D5D51FD5BF5A16B8205B"), picc("04C767F2066180", 1)
    assert session_key(key, read, SV_ENCRYPTION).hex() == "66da61797e23deca5d8eca13bbadf7a9"
    assert session_key(key, read).hex() == "3a3e8110e05311f7a3fcf0d969bf2b48"


@pytest.mark.parametrize(
    ("encrypted", "plain"),
    [
        # Table 2, and the example of section 3.4.4.2 with file data.
        ("EF963FF7828658A599F3041510671E88", picc("04DE5F1EACC040", 61)),
        ("FD91EC264309878BE6345CBE53BADF40", picc("04958CAA5C5E80", 8)),
    ],
)
def test_picc_data_of_an12196(encrypted: str, plain: PiccData) -> None:
    assert decrypt_picc(FACTORY_KEY, bytes.fromhex(encrypted)) == plain


@pytest.mark.parametrize(
    ("read", "message", "session", "mac"),
    [
        (picc("04DE5F1EACC040", 61), b"", "3fb5f6e3a807a03d5e3570ace393776f", "94eed9ee65337086"),
        (
            picc("04958CAA5C5E80", 8),
            b"CEE9A53E3E463EF1F459635736738962&cmac=",
            "3ed0920e5e6a0320d823d5987feafbb1",
            "ecc1e7f6c6c73bf6",
        ),
    ],
    ids=["table 4: over nothing", "table 5: over part of the file"],
)
def test_macs_of_an12196(read: PiccData, message: bytes, session: str, mac: str) -> None:
    assert session_key(FACTORY_KEY, read).hex() == session
    assert message_mac(FACTORY_KEY, read, message).hex() == mac
    assert mac_matches(FACTORY_KEY, read, message, bytes.fromhex(mac))


def test_file_data_of_an12196_table_3_opens_with_the_other_session_key() -> None:
    """SV1 is right if it decrypts: CBC, the counter encrypted under the session key as IV (section 3.4.3.2)."""
    key = session_key(FACTORY_KEY, picc("04958CAA5C5E80", 1), SV_ENCRYPTION)
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    iv = encryptor.update(bytes.fromhex("010000") + bytes(13))
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    assert decryptor.update(bytes.fromhex("94592FDE69FA06E8E3B6CA686A22842B")) == b"x" * 16


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_whatever_is_decrypted_is_a_chips_data_or_nothing(key: bytes, encrypted: bytes) -> None:
    read = decrypt_picc(key, encrypted)
    if read is not None:
        assert len(read.uid) == 7
        assert 0 <= read.counter < COUNTER_LIMIT


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=7, max_size=7),
    st.integers(0, COUNTER_LIMIT - 1),
    st.binary(max_size=300),
    st.integers(0, 63),
)
def test_a_mac_of_another_byte_counter_or_chip_does_not_match(
    key: bytes, uid: bytes, counter: int, message: bytes, bit: int
) -> None:
    read = PiccData(uid=uid, counter=counter)
    mac = message_mac(key, read, message)
    assert mac_matches(key, read, message, mac)
    flipped = (int.from_bytes(mac, "big") ^ (1 << bit)).to_bytes(8, "big")
    assert not mac_matches(key, read, message, flipped)
    assert not mac_matches(key, read, message + b"\x00", mac)
    assert not mac_matches(key, PiccData(uid=uid, counter=counter ^ 1), message, mac)
    other = bytes([uid[0] ^ 1]) + uid[1:]
    assert not mac_matches(key, PiccData(uid=other, counter=counter), message, mac)


@pytest.mark.parametrize("counter", [-1, COUNTER_LIMIT])
def test_a_counter_that_no_chip_has_is_no_reading(counter: int) -> None:
    with pytest.raises(ValueError, match="counter"):
        picc("04C767F2066180", counter)


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(17), bytes(32)])
def test_a_key_of_another_length_is_a_fault_and_never_a_quiet_mismatch(key: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        cmac(key, b"")
    with pytest.raises(InvalidKeyError):
        decrypt_picc(key, bytes(16))
