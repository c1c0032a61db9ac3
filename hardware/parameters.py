"""Reading the query part of a device URL strictly: nothing unknown, nothing out of range, nothing twice."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import SplitResult, parse_qsl, urlsplit

from hardware.errors import BadDeviceParameterError


class Parameters:
    """The parts of one device URL. Every method raises ``BadDeviceParameterError`` naming the parameter."""

    def __init__(self, url: str, *, known: Collection[str]) -> None:
        self.url = url
        try:
            self._parts: SplitResult = urlsplit(url)
            pairs = parse_qsl(self._parts.query, keep_blank_values=True, strict_parsing=bool(self._parts.query))
        except ValueError as error:
            raise self.bad("address", str(error)) from error
        self._values: dict[str, str] = {}
        for key, value in pairs:
            if key not in known:
                raise self.bad(key, f"is not known here; known are {', '.join(sorted(known)) or 'none'}")
            if key in self._values:
                raise self.bad(key, "is given twice")
            self._values[key] = value

    def bad(self, parameter: str, problem: str) -> BadDeviceParameterError:
        return BadDeviceParameterError(url=self.url, parameter=parameter, problem=problem)

    @property
    def path(self) -> str:
        return self._parts.path

    def host(self) -> str:
        if not self._parts.hostname:
            raise self.bad("host", "is missing")
        return self._parts.hostname

    def port(self, default: int | None) -> int:
        try:
            port = self._parts.port
        except ValueError as error:
            raise self.bad("port", "is not 1 to 65535") from error
        port = default if port is None else port
        if not port:
            raise self.bad("port", "is missing")
        return port

    def credentials(self) -> tuple[str, str] | None:
        if self._parts.username is None:
            return None
        return self._parts.username, self._parts.password or ""

    def number(self, key: str, *, low: int, high: int) -> int | None:
        """The whole number under ``key``, None where it is absent."""
        text = self._values.get(key)
        if text is None:
            return None
        # isdecimal alone takes digits of every script, int() alone takes "1_0" and "+1".
        if not (text.isascii() and text.isdecimal()):
            raise self.bad(key, f"is not a whole number: {text!r}")
        value = int(text)
        if not low <= value <= high:
            raise self.bad(key, f"is not between {low} and {high}: {value}")
        return value
