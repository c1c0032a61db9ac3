"""What can go wrong in the service.

::

    ServiceError
    ├── SettingError            a setting is missing or wrong; names it
    ├── EmbeddedServerError     an embedded PostgreSQL or Valkey did not start
    ├── DatabaseRefusedError    the database cannot be reached at start, or does not let us in
    ├── MigrationError          a migration file changed after it was applied, or failed
    ├── DemoError               a part of the demonstration did not do what it was asked
    ├── RefusedError            what was asked on the command line does not fit what is there
    ├── AsideError              work in a process of its own ended without a result
    ├── StaleBasisError         what a publication was prepared from changed before it could be put in force
    ├── UnsealError             something sealed cannot be opened with the key-encryption keys of the settings
    ├── KeyTokenError           the token that holds a key-encryption key does not answer, or does not let us in
    └── ApiProblem              an answer to a request, as problem+json (RFC 9457)

An :class:`ApiProblem` is how a handler refuses a request; everything else is a fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ServiceError(Exception):
    """Something in the card service failed."""


class SettingError(ServiceError):
    """The setting {setting} cannot be used: {detail}."""

    def __init__(self, *, setting: str, detail: str) -> None:
        super().__init__(f"The setting {setting} cannot be used: {detail}")
        self.setting = setting
        self.detail = detail


class EmbeddedServerError(ServiceError):
    """The embedded {server} is not available: {detail}."""

    def __init__(self, *, server: str, detail: str) -> None:
        super().__init__(f"The embedded {server} is not available: {detail}")
        self.server = server
        self.detail = detail


class DatabaseRefusedError(ServiceError):
    """The database at {address} cannot be used: {detail}."""

    def __init__(self, *, address: str, detail: str) -> None:
        super().__init__(f"The database at {address} cannot be used: {detail}")
        self.address = address
        self.detail = detail


class MigrationError(ServiceError):
    """The migration {migration} cannot be applied: {detail}."""

    def __init__(self, *, migration: str, detail: str) -> None:
        super().__init__(f"The migration {migration} cannot be applied: {detail}")
        self.migration = migration
        self.detail = detail


class RefusedError(ServiceError):
    """Nothing was done: {detail}."""

    def __init__(self, *, detail: str) -> None:
        super().__init__(f"Nothing was done: {detail}")
        self.detail = detail


class AsideError(ServiceError):
    """The work of {module} ended without a result: {detail}."""

    def __init__(self, *, module: str, detail: str) -> None:
        super().__init__(f"The work of {module} ended without a result: {detail}")
        self.module = module
        self.detail = detail


class StaleBasisError(ServiceError):
    """The catalogue of {tenant}, its day or its horizon changed while people were being compiled."""

    def __init__(self, *, tenant: str) -> None:
        super().__init__(f"The catalogue of {tenant}, its day or its horizon changed while people were compiled")
        self.tenant = tenant


class UnsealError(ServiceError):
    """What is sealed as {name} does not open: {detail}."""

    def __init__(
        self, *, name: str, detail: str = "the key-encryption key is another one, or the row was altered"
    ) -> None:
        super().__init__(f"What is sealed as {name} does not open: {detail}")
        self.name = name
        self.detail = detail


class KeyTokenError(ServiceError):
    """The token {token} of {setting} cannot be used: {detail}."""

    def __init__(self, *, setting: str, token: str, detail: str) -> None:
        super().__init__(f"The token {token} of {setting} cannot be used: {detail}")
        self.setting = setting
        self.token = token
        self.detail = detail


class DemoError(ServiceError):
    """The demonstration's {what} failed: {detail}."""

    def __init__(self, *, what: str, detail: str) -> None:
        super().__init__(f"The demonstration's {what} failed: {detail}")
        self.what = what
        self.detail = detail


class ApiProblem(ServiceError):
    """A request is refused with a status, a stable code and a sentence for people (RFC 9457).

    ``fields`` lists what is wrong with the body or query, each ``{"at": JSON pointer, "problem": sentence}``.
    ``extra`` becomes further members of the problem document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        fields: Sequence[Mapping[str, str]] = (),
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.fields = list(fields)
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})


def not_found(what: str, name: object) -> ApiProblem:
    """404 for an id that does not exist in this tenant."""
    return ApiProblem(404, f"{what}_not_found", f"There is no {what} {name!s} here.")


def conflict(code: str, detail: str) -> ApiProblem:
    """409 for a request that does not fit the present state."""
    return ApiProblem(409, code, detail)
