"""Settings: an installer must be told which line to mend, at the start and not in the night."""

from __future__ import annotations

from pathlib import Path

import pytest

from readers.errors import SettingsError
from readers.settings import load_settings

GOOD = """
service = "https://cards.example"
data_dir = "/var/lib/cardreader"

[[lanes]]
lane = "in-1"
sources = ["nfc+udp:127.0.0.1:54321"]
actuator = "modbus+tcp://127.0.0.1:5020?coil=0&passage=0"
indicator = "log:"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "reader.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, GOOD), {})
    assert settings.service == "https://cards.example"
    assert settings.health_port == 9470
    assert settings.lanes[0].sources == ("nfc+udp:127.0.0.1:54321",)


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environment = {"RESCARD_READER_SERVICE": "http://service:8000", "RESCARD_READER_HEALTH_PORT": "0", "HOME": "/"}
    settings = load_settings(written(tmp_path, GOOD), environment)
    assert (settings.service, settings.health_port) == ("http://service:8000", 0)


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        (('service = "https://cards.example"', ""), "service"),
        (("https://cards.example", "http://cards.example"), "service"),
        (("https://cards.example", "ftp://cards.example"), "service"),
        (("https://cards.example", "http://192.0.2.7:8000"), "service"),
        (("https://cards.example", "http://[2001:db8::7]:8000"), "service"),
        (('data_dir = "/var/lib/cardreader"', "data_dir = 7"), "data_dir"),
        (("[[lanes]]", "colour = 3\n[[lanes]]"), "colour"),
        (("[[lanes]]", "health_port = 70000\n[[lanes]]"), "health_port"),
        (('indicator = "log:"', "pulse_seconds = 99"), "lanes[0]"),
        (('indicator = "log:"', 'pulse_seconds = "long"'), "lanes[0].pulse_seconds"),
        (('indicator = "log:"', 'keypad = "modbus+tcp://127.0.0.1:5020"'), "lanes[0] (in-1)"),
        (("modbus+tcp:", "turnstile:"), "lanes[0] (in-1)"),
        (("nfc+udp:127.0.0.1:54321", "mjpeg+ftp://x"), "lanes[0] (in-1)"),
        (('sources = ["nfc+udp:127.0.0.1:54321"]', "sources = []"), "lanes[0]"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, change: tuple[str, str], setting: str) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(SettingsError) as caught:
        load_settings(written(tmp_path, text), {})
    assert caught.value.setting == setting


@pytest.mark.parametrize(
    ("variable", "value"), [("RESCARD_READER_HEALTH_PORT", "many"), ("RESCARD_READER_COLOUR", "blue")]
)
def test_a_wrong_variable_is_named(tmp_path: Path, variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(written(tmp_path, GOOD), {variable: value})
    assert caught.value.setting == variable


def test_two_lanes_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="one lane twice"):
        load_settings(written(tmp_path, GOOD + GOOD[GOOD.index("[[lanes]]") :]), {})


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        load_settings(tmp_path / "nowhere.toml", {})
    with pytest.raises(SettingsError, match="not TOML"):
        load_settings(written(tmp_path, "lanes = ["), {})
