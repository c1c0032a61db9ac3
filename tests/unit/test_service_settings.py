"""Settings of the service: an operator is told which one is wrong, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from cardservice.errors import SettingError
from cardservice.settings import load_settings

GOOD = {"DATABASE_URL": "postgresql://127.0.0.1/x", "RESCARD_KEY_ENCRYPTION_KEY": "k" * 32}


def test_the_minimum_is_enough() -> None:
    settings = load_settings(GOOD)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert not settings.demo_pages
    assert settings.sealing_secret() == b"k" * 32


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
        load_settings(bare).sealing_secret()
    short = tmp_path / "key"
    short.write_text("too short")
    with pytest.raises(SettingError, match="fewer than 32"):
        load_settings({**bare, "RESCARD_KEY_ENCRYPTION_KEY_FILE": str(short)}).sealing_secret()
    short.write_text("k" * 40 + "\n")
    assert load_settings({**bare, "RESCARD_KEY_ENCRYPTION_KEY_FILE": str(short)}).sealing_secret() == b"k" * 40
