"""What a site's installer writes down: one TOML file, read once at start, with overrides from the environment.

Only what the service cannot know is here: addresses and devices. Which services a lane offers, its zone and its
direction come from the service, so that nobody edits a file at a gate to change them.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from hardware.devices import open_actuator, open_indicator, open_keypad, open_source
from hardware.errors import HardwareError
from readers.errors import SettingsError

ENV_PREFIX: Final = "RESCARD_READER_"
LOOPBACK: Final = "127.0.0.1"

_LANE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class LaneSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The devices of one lane. ``lane`` is its id at the service; times in seconds."""

    lane: str
    sources: tuple[str, ...]
    actuator: str
    indicator: str = "log:"
    keypad: str | None = None
    """Keys beside the lane for services that ask for a PIN; without one their visitors are referred to staff."""
    pulse_seconds: float = 0.5
    """Length of the release pulse: turnstiles take 0.2 to 5 s."""
    passage_timeout_seconds: float = 8.0
    """How long after a release a passage still belongs to it."""

    def __post_init__(self) -> None:
        if not _LANE_NAME.fullmatch(self.lane):
            raise ValueError("lane must be 1 to 64 letters, digits, dots, dashes or underscores")
        if not 1 <= len(self.sources) <= 8:
            raise ValueError("sources must name 1 to 8 devices")
        if not 0.05 <= self.pulse_seconds <= 30:
            raise ValueError("pulse_seconds must be 0.05 to 30")
        if not 0.1 <= self.passage_timeout_seconds <= 120:
            raise ValueError("passage_timeout_seconds must be 0.1 to 120")


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a reader daemon. Times in seconds."""

    service: str
    data_dir: str
    lanes: tuple[LaneSettings, ...]
    health_port: int = 9470
    """Loopback port of health, metrics and status; 0 takes any free one and writes it to ``health.port``."""
    tls_ca: str | None = None
    """PEM file of the authority that signed the service's certificate, where that is not a public one."""
    log: Literal["json", "console"] = "json"
    poll_seconds: float = 10.0
    """The feed is pulled this often even while the stream is well: a message is a hint, state is pulled."""
    beat_seconds: float = 5.0
    """The service's ``stream_beat_seconds``; a stream silent for three of them is dropped."""
    status_seconds: float = 5.0
    """The status is sent this often when nothing happens."""
    request_timeout_seconds: float = 10.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.service)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("service must be an http or https URL")
        near = parts.hostname in {LOOPBACK, "localhost", "::1"} or not {".", ":"} & set(parts.hostname)
        if parts.scheme == "http" and not near:
            raise ValueError("service must be https; plain http is for this machine or a container's neighbour only")
        if parts.query or parts.fragment:
            raise ValueError("service must be a URL without query or fragment")
        if not self.data_dir:
            raise ValueError("data_dir must name a folder")
        if not self.lanes:
            raise ValueError("lanes must have at least one lane")
        names = [lane.lane for lane in self.lanes]
        if len(set(names)) != len(names):
            raise ValueError("lanes must not name one lane twice")
        if not 0 <= self.health_port <= 65535:
            raise ValueError("health_port must be 0 to 65535")
        for name in ("poll_seconds", "beat_seconds", "status_seconds", "request_timeout_seconds"):
            if not 0.01 <= getattr(self, name) <= 3600:
                raise ValueError(f"{name} must be 0.01 to 3600")

    @property
    def folder(self) -> Path:
        """The data folder."""
        return Path(self.data_dir)


def load_settings(path: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings file and the environment.

    A value ``NAME`` outside ``[[lanes]]`` is overridden by ``RESCARD_READER_NAME``. Device URLs are checked, the
    devices are not touched.

    Raises:
        SettingsError: the file cannot be read, or a setting is missing, unknown or out of range; names the setting.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("--config", f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("--config", f"{path} is not TOML: {error}") from error
    _override(raw, os.environ if environment is None else environment)
    try:
        settings = msgspec.convert(raw, Settings)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at ")
        raise SettingsError(where.strip("`").removeprefix("$").lstrip(".") or _named(message), message) from error
    _check_devices(settings)
    return settings


def _named(message: str) -> str:
    """The setting a message without a path speaks of: our own messages begin with it, msgspec's quote it."""
    quoted = re.search(r"`(\w+)`$", message)
    return quoted[1] if quoted else message.partition(" ")[0]


def _override(raw: dict[str, Any], environment: Mapping[str, str]) -> None:
    known = {field.name: field for field in msgspec.structs.fields(Settings) if field.name != "lanes"}
    for variable, text in environment.items():
        if not variable.startswith(ENV_PREFIX):
            continue
        name = variable.removeprefix(ENV_PREFIX).lower()
        if name not in known:
            raise SettingsError(variable, f"no such setting; known: {', '.join(sorted(known))}")
        try:
            raw[name] = msgspec.convert(text, known[name].type, strict=False)
        except msgspec.ValidationError as error:
            raise SettingsError(variable, str(error)) from error


def _check_devices(settings: Settings) -> None:
    for position, lane in enumerate(settings.lanes):
        try:
            for url in lane.sources:
                open_source(url)
            open_actuator(lane.actuator)
            open_indicator(lane.indicator)
            if lane.keypad is not None:
                open_keypad(lane.keypad)
        except HardwareError as error:
            raise SettingsError(f"lanes[{position}] ({lane.lane})", str(error)) from error
