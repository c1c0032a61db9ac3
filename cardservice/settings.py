"""Settings of the service: read once from the environment, typed, frozen, refused by name when wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cardservice.errors import SettingError
from cardservice.keys.token import TokenAddress

PREFIX = "RESCARD_"
SECRET_BYTES = 32
"""Least length of a secret from which a key-encryption key is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlace:
    """A key-encryption key as one setting names it: a secret, or the address of one on a token."""

    setting: str
    secret: bytes = b""
    token: TokenAddress | None = None


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
        default=None,
        min_length=SECRET_BYTES,
        description="Secret that seals signing keys at rest (at least 32 characters).",
    )
    key_encryption_key_file: Path | None = Field(default=None, description="The same, from a file.")
    key_encryption_token: str | None = Field(
        default=None, description="In place of both: an AES key on a PKCS#11 token, as a PKCS#11 URI (RFC 7512)."
    )
    old_key_encryption_key: str | None = Field(
        default=None, min_length=SECRET_BYTES, description="A former secret, which may still open what it sealed."
    )
    old_key_encryption_key_file: Path | None = Field(default=None, description="The same, from a file.")
    old_key_encryption_token: str | None = Field(default=None, description="The same, on a token.")
    jwks_seconds: int = Field(
        default=300, ge=1, le=86_400, description="How long others may keep a council's public keys."
    )
    absent_reader_days: int = Field(
        default=7, ge=1, le=365, description="A reader not heard of for longer holds no new signing key up."
    )
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

    @field_validator("key_encryption_token", "old_key_encryption_token")
    @classmethod
    def _token(cls, value: str | None) -> str | None:
        if value is not None:
            TokenAddress.parse(value)
        return value

    @property
    def host(self) -> str:
        """Host part of ``bind``."""
        return self.bind.rpartition(":")[0]

    @property
    def port(self) -> int:
        """Port part of ``bind``; 0 asks for a free one."""
        return int(self.bind.rpartition(":")[2])

    def key_places(self, *, old: bool = False) -> Sequence[KeyPlace]:
        """Every key-encryption key that is named to seal with, or with ``old`` every one that may only open.

        Raises:
            SettingError: a file cannot be read, or holds too little.
        """
        prefix = "old_" if old else ""
        secret, file, token = (getattr(self, f"{prefix}key_encryption_{what}") for what in ("key", "key_file", "token"))
        name = f"{PREFIX}{prefix.upper()}KEY_ENCRYPTION_"
        places = []
        if secret is not None:
            places.append(KeyPlace(setting=f"{name}KEY", secret=secret.encode()))
        if file is not None:
            places.append(KeyPlace(setting=f"{name}KEY_FILE", secret=_secret_of(file, f"{name}KEY_FILE")))
        if token is not None:
            places.append(KeyPlace(setting=f"{name}TOKEN", token=TokenAddress.parse(token)))
        return places


def _secret_of(file: Path, setting: str) -> bytes:
    try:
        secret = file.read_bytes().strip()
    except OSError as error:
        raise SettingError(setting=setting, detail=str(error)) from error
    if len(secret) < SECRET_BYTES:
        raise SettingError(setting=setting, detail=f"it holds fewer than {SECRET_BYTES} bytes")
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
