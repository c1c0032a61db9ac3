"""A key-encryption key on a PKCS#11 token (OASIS PKCS#11 3.0): an HSM, a smart card, or SoftHSM2. It never leaves it.

The token is asked for each wrap and unwrap, in a session of its own: that happens at start and when a data key is met
for the first time, not for each card, so a token that is restarted or plugged in again needs no restart of ours.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

from cardservice.errors import KeyTokenError

NONCE_BYTES: Final = 12
TAG_BITS: Final = 128
CHECKED: Final = bytes(16)
"""Encrypted under a nonce of zeros to recognise the key: random nonces never meet that one."""
ID_BYTES: Final = 8
_LOCK = threading.Lock()
"""One session at a time in this process: a login counts for all sessions of an application (PKCS#11 section 5.6)."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAddress:
    """Where the key is and how to be let in.

    :ivar module: the vendor's PKCS#11 library.
    :ivar token: label of the token.
    :ivar key: label of an AES key on it.
    :ivar pin_file: file whose first line is the user's PIN. There is no way to give the PIN itself: an address stands
        in listings of processes and settings.
    """

    module: Path
    token: str
    key: str
    pin_file: Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a PKCS#11 URI (RFC 7512).

        For example ``pkcs11:token=rescard;object=kek-1?module-path=/usr/lib/libtoken.so&pin-source=/run/secrets/pin``.

        Raises:
            ValueError: it is none, or names too little, too much or the PIN itself.
        """
        scheme, _, rest = text.partition(":")
        if scheme != "pkcs11":
            raise ValueError("begin it with pkcs11:, as RFC 7512 has it")
        path, _, query = rest.partition("?")
        given: dict[str, str] = {}
        for part in (*path.split(";"), *query.split("&")):
            name, equals, value = part.partition("=")
            if not equals or not value or name in given:
                raise ValueError("write each part once, as name=value")
            given[name] = unquote(value)
        if "pin-value" in given:
            raise ValueError("give the PIN in a file, as pin-source=/path, never in the address")
        wanted = {"token", "object", "module-path", "pin-source"}
        if given.keys() != wanted:
            raise ValueError(f"it needs {', '.join(sorted(wanted))}, and nothing else")
        return cls(
            module=Path(given["module-path"]),
            token=given["token"],
            key=given["object"],
            pin_file=Path(urlsplit(given["pin-source"]).path),
        )


class TokenKey:
    """A key-encryption key on a token. Every method blocks: call it in a thread.

    :param setting: name of the setting that gave the address, for messages.
    """

    def __init__(self, address: TokenAddress, setting: str) -> None:
        self._address = address
        self._setting = setting
        self._id: bytes | None = None

    @property
    def key_id(self) -> bytes:
        """8 bytes that tell this key from others: the same on every token that holds a copy of it.

        Raises:
            KeyTokenError: as :meth:`wrap`.
        """
        if self._id is None:
            self._id = self._with_key(lambda key: _encrypt(key, bytes(NONCE_BYTES), CHECKED, b""))[:ID_BYTES]
        return self._id

    def wrap(self, data_key: bytes, what: bytes) -> bytes:
        """``nonce (12) || ciphertext and tag`` by AES-GCM; ``what`` is authenticated with it.

        Raises:
            KeyTokenError: the token does not answer, or does not let us in.
        """
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._with_key(lambda key: _encrypt(key, nonce, data_key, what))

    def unwrap(self, wrapped: bytes, what: bytes) -> bytes | None:
        """The data key, or ``None`` where the bytes were altered.

        Raises:
            KeyTokenError: as :meth:`wrap`.
        """

        def decrypt(key: Any) -> bytes | None:
            from pkcs11 import PKCS11Error

            try:
                return bytes(key.decrypt(wrapped[NONCE_BYTES:], **_gcm(wrapped[:NONCE_BYTES], what)))
            except PKCS11Error:
                # Libraries name a wrong tag in many ways. A token that still computes was given altered bytes.
                _encrypt(key, bytes(NONCE_BYTES), CHECKED, b"")
                return None

        return self._with_key(decrypt)

    def create(self) -> None:
        """Make the key on the token: AES-256, sensitive, not extractable, for encryption alone.

        Raises:
            KeyTokenError: there is one of that name, or as :meth:`wrap`.
        """
        from pkcs11 import Attribute, KeyType, NoSuchKey, ObjectClass

        def make(session: Any) -> None:
            try:
                session.get_key(object_class=ObjectClass.SECRET_KEY, label=self._address.key)
            except NoSuchKey:
                pass
            else:
                raise self._error(f"there is a key {self._address.key} on the token already")
            barred = (Attribute.WRAP, Attribute.UNWRAP, Attribute.SIGN, Attribute.VERIFY, Attribute.DERIVE)
            session.generate_key(
                KeyType.AES,
                256,
                label=self._address.key,
                store=True,
                template={
                    **dict.fromkeys(barred, False),
                    Attribute.ENCRYPT: True,
                    Attribute.DECRYPT: True,
                    Attribute.SENSITIVE: True,
                    Attribute.EXTRACTABLE: False,
                },
            )

        self._in_session(make, rw=True)

    def _with_key(self, use: Callable[[Any], Answer]) -> Answer:
        from pkcs11 import Attribute, KeyType, NoSuchKey, ObjectClass

        def find(session: Any) -> Answer:
            label = self._address.key
            try:
                key = session.get_key(object_class=ObjectClass.SECRET_KEY, key_type=KeyType.AES, label=label)
            except NoSuchKey:
                raise self._error(f"it has no AES key {label}; `cardservice keys create-token-key` makes one") from None
            if key[Attribute.EXTRACTABLE] or not key[Attribute.SENSITIVE]:
                raise self._error(f"the key {label} can be read out of the token; use one that cannot")
            return use(key)

        return self._in_session(find)

    def _in_session(self, use: Callable[[Any], Answer], *, rw: bool = False) -> Answer:
        try:
            import pkcs11
        except ImportError as error:
            raise self._error("python-pkcs11 is not installed: pip install 'rescard[pkcs11]'") from error
        no_use = (
            pkcs11.PinIncorrect,
            pkcs11.PinLocked,
            pkcs11.PinExpired,
            pkcs11.NoSuchKey,
            pkcs11.MultipleObjectsReturned,
        )
        with _LOCK:
            try:
                library = pkcs11.lib(str(self._address.module))
                try:
                    return self._once(library, use, rw=rw)
                except no_use:
                    raise  # a wrong PIN is not tried twice: tokens lock themselves
                except pkcs11.PKCS11Error:
                    # A token that was away is seen again after the library began anew.
                    library.reinitialize()
                    return self._once(library, use, rw=rw)
            except pkcs11.PKCS11Error as error:
                raise self._error(_told(error)) from error

    def _once(self, library: Any, use: Callable[[Any], Answer], *, rw: bool) -> Answer:
        token = library.get_token(token_label=self._address.token)
        with token.open(rw=rw, user_pin=self._pin()) as session:
            return use(session)

    def _pin(self) -> str:
        try:
            pin = self._address.pin_file.read_text().partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._error(f"its PIN cannot be read: {error}") from error
        if not pin:
            raise self._error(f"the file of its PIN, {self._address.pin_file}, is empty")
        return pin

    def _error(self, detail: str) -> KeyTokenError:
        return KeyTokenError(setting=self._setting, token=self._address.token, detail=detail)


def _gcm(nonce: bytes, what: bytes) -> dict[str, Any]:
    from pkcs11 import GCMParams, Mechanism

    return {
        "mechanism": Mechanism.AES_GCM,
        "mechanism_param": GCMParams(nonce=nonce, aad=what, tag_bits=TAG_BITS),
    }


def _encrypt(key: Any, nonce: bytes, plain: bytes, what: bytes) -> bytes:
    return bytes(key.encrypt(plain, **_gcm(nonce, what)))


def _told(error: Exception) -> str:
    """PKCS#11 return codes come as bare class names; what they are about is not always said."""
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name
