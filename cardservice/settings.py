"""Settings of the service: read once from the environment, typed, frozen, refused by name when wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cardservice.errors import SettingError

PREFIX = "RESCARD_"


class Settings(BaseModel):
    """Every setting ``name`` is the environment variable ``RESCARD_NAME`` (``DATABASE_URL`` and ``REDIS_URL`` too)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str = Field(description="PostgreSQL 15 or newer; the user owns the schema.")
    redis_url: str | None = Field(default=None, description="Valkey or Redis; without it changes are found by polling.")
    bind: str = Field(default="127.0.0.1:8080", pattern=r"^[^\s:]+:\d{1,5}$", description="Address to listen on.")
    workers: int = Field(default=1, ge=1, le=64, description="Service processes behind the one address.")
    public_url: str = Field(
        default="http://127.0.0.1:8080",
        max_length=72,  # it stands in every card, whose QR code must stay small
        pattern=r"^https?://[^\s\"\\]+$",
        description="Where residents and readers reach the service.",
    )
    key_encryption_key: str | None = Field(
        default=None, min_length=32, description="Secret that seals signing keys at rest (at least 32 characters)."
    )
    key_encryption_key_file: Path | None = Field(default=None, description="The same, from a file.")
    demo_pages: bool = Field(default=False, description="Serve /gates without a token. Only for demonstrations.")
    stream_beat_seconds: float = Field(default=5.0, gt=0, le=60, description="Heartbeat of the change stream.")
    poll_seconds: float = Field(default=0.5, gt=0, le=60, description="How often feed heads are polled without Valkey.")
    pool_size: int = Field(default=10, ge=2, le=200, description="Database connections of one process.")
    background_cards: int = Field(
        default=5_000, ge=0, description="With more cards than this a publication is prepared in the background."
    )
    max_body_bytes: int = Field(default=1 << 20, ge=1024, description="Largest request body.")
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("public_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @property
    def host(self) -> str:
        """Host part of ``bind``."""
        return self.bind.rpartition(":")[0]

    @property
    def port(self) -> int:
        """Port part of ``bind``; 0 asks for a free one."""
        return int(self.bind.rpartition(":")[2])

    def sealing_secret(self) -> bytes:
        """The secret from which the key-encryption key is derived.

        Raises:
            SettingError: neither the value nor the file is set, or the file cannot be read or is too short.
        """
        if self.key_encryption_key is not None:
            return self.key_encryption_key.encode()
        if self.key_encryption_key_file is None:
            raise SettingError(
                setting=f"{PREFIX}KEY_ENCRYPTION_KEY", detail="set it, or RESCARD_KEY_ENCRYPTION_KEY_FILE"
            )
        try:
            secret = self.key_encryption_key_file.read_bytes().strip()
        except OSError as error:
            raise SettingError(setting=f"{PREFIX}KEY_ENCRYPTION_KEY_FILE", detail=str(error)) from error
        if len(secret) < 32:
            raise SettingError(setting=f"{PREFIX}KEY_ENCRYPTION_KEY_FILE", detail="it holds fewer than 32 bytes")
        return secret


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        SettingError: a setting is missing, unknown or wrong; names the variable.
    """
    environment = os.environ if environment is None else environment
    values: dict[str, str] = {}
    for name in ("DATABASE_URL", "REDIS_URL"):
        if name in environment:
            values[name.lower()] = environment[name]
    for name, value in environment.items():
        if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}READER_"):
            values[name.removeprefix(PREFIX).lower()] = value
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "?"
        setting = field.upper() if field in {"database_url", "redis_url"} else PREFIX + field.upper()
        detail = "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        raise SettingError(setting=setting, detail=detail) from error
