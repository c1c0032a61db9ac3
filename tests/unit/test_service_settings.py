"""Settings of the service: an operator is told which one is wrong, before anything starts."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.errors import SettingError
from cardservice.keys.encryption import KeyEncryption
from cardservice.keys.token import TokenAddress
from cardservice.settings import load_settings

GOOD = {"DATABASE_URL": "postgresql://127.0.0.1/x", "RESCARD_KEY_ENCRYPTION_KEY": "k" * 32}


def test_the_minimum_is_enough() -> None:
    settings = load_settings(GOOD)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert not settings.demo_pages
    assert [place.secret for place in settings.key_places()] == [b"k" * 32]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"DATABASE_URL": None}, "DATABASE_URL"),
        ({"RESCARD_BIND": "nowhere"}, "RESCARD_BIND"),
        ({"RESCARD_WORKERS": "none"}, "RESCARD_WORKERS"),
        ({"RESCARD_WORKERS": "0"}, "RESCARD_WORKERS"),
        ({"RESCARD_WROKERS": "2"}, "RESCARD_WROKERS"),
        ({"RESCARD_KEY_ENCRYPTION_KEY": "short"}, "RESCARD_KEY_ENCRYPTION_KEY"),
        ({"RESCARD_LOG_FORMAT": "xml"}, "RESCARD_LOG_FORMAT"),
    ],
)
def test_a_wrong_setting_is_named(change: dict[str, str | None], named: str) -> None:
    environment = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(SettingError) as caught:
        load_settings(environment)
    assert caught.value.setting == named


def test_a_readers_settings_are_not_the_services() -> None:
    assert load_settings({**GOOD, "RESCARD_READER_SERVICE": "https://cards.example"}).workers == 1


def test_no_key_is_sealed_with_nothing(tmp_path: Path) -> None:
    bare = {"DATABASE_URL": GOOD["DATABASE_URL"]}
    with pytest.raises(SettingError, match="RESCARD_KEY_ENCRYPTION_KEY"):
        KeyEncryption.of(load_settings(bare))
    short = tmp_path / "key"
    filed = load_settings({**bare, "RESCARD_KEY_ENCRYPTION_KEY_FILE": str(short)})
    with pytest.raises(SettingError, match=r"RESCARD_KEY_ENCRYPTION_KEY_FILE cannot be used: .* No such file"):
        KeyEncryption.of(filed)
    short.write_text("too short")
    with pytest.raises(SettingError, match="fewer than 32"):
        KeyEncryption.of(filed)
    short.write_text("k" * 40 + "\n")
    assert list(KeyEncryption.of(filed).secrets) == [b"k" * 40]


def test_nobody_has_to_guess_which_of_two_keys_seals(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("f" * 40)
    with pytest.raises(SettingError, match=r"KEY_FILE cannot be used: RESCARD_KEY_ENCRYPTION_KEY is set as well"):
        KeyEncryption.of(load_settings({**GOOD, "RESCARD_KEY_ENCRYPTION_KEY_FILE": str(file)}))
    changing = load_settings({**GOOD, "RESCARD_OLD_KEY_ENCRYPTION_KEY_FILE": str(file)})
    assert list(KeyEncryption.of(changing).secrets) == [b"k" * 32, b"f" * 40]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("/usr/lib/libsofthsm2.so", "RFC 7512"),
        ("pkcs11:token=a;object=b?module-path=/x.so&pin-value=1234", "never in the address"),
        ("pkcs11:token=a;object=b?module-path=/x.so", "it needs module-path, object, pin-source, token"),
        ("pkcs11:token=a;object=b;token=c?module-path=/x.so&pin-source=/pin", "each part once"),
        ("pkcs11:token=;object=b?module-path=/x.so&pin-source=/pin", "each part once"),
    ],
)
def test_a_wrong_address_of_a_token_is_told_at_start_without_a_pin(address: str, problem: str) -> None:
    for setting in ("RESCARD_KEY_ENCRYPTION_TOKEN", "RESCARD_OLD_KEY_ENCRYPTION_TOKEN"):
        with pytest.raises(SettingError, match=problem) as caught:
            load_settings({**GOOD, setting: address})
        assert caught.value.setting == setting
        assert "1234" not in str(caught.value)


def test_an_address_of_a_token_is_read_as_rfc_7512_has_it() -> None:
    text = "pkcs11:token=My%20token;object=kek-1?module-path=/usr/lib/x.so&pin-source=file:/run/secrets/pin"
    address = TokenAddress.parse(text)
    assert (address.token, address.key) == ("My token", "kek-1")
    assert (address.module, address.pin_file) == (Path("/usr/lib/x.so"), Path("/run/secrets/pin"))


@given(st.one_of(st.text(max_size=80), st.text(alphabet="pkcs1:token=object;module-path?&%/.", max_size=120)))
def test_no_address_of_a_token_does_worse_than_be_refused(text: str) -> None:
    try:
        address = TokenAddress.parse(text)
    except ValueError:
        return
    assert all((address.token, address.key))


@given(*[st.text(st.characters(codec="utf-8", min_codepoint=33), min_size=1, max_size=20)] * 2)
def test_labels_of_a_token_may_have_any_characters_where_they_are_escaped(token: str, key: str) -> None:
    text = f"pkcs11:token={quote(token, safe='')};object={quote(key, safe='')}?module-path=/x.so&pin-source=file:/pin"
    address = TokenAddress.parse(text)
    assert (address.token, address.key) == (token, key)
