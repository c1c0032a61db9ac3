"""Faults of the reader daemon.

ReaderError
|-- SettingsError               a setting is missing, unknown or out of range
|-- NotEnrolledError            there is no identity in the data folder
|-- IdentityError               the identity is there and cannot be used
|-- DatabaseFaultError          SQLite cannot write or read
|   `-- DiskFullError           because the disk is full
|-- CacheFileError              a base file is damaged, cut short or not ours
|-- FeedError                   what the service sent for a feed cannot be used
|   |-- SnapshotRefusedError    a snapshot that is incomplete, unsigned or not what was asked for
|   `-- UnknownFormatError      a format version this reader does not know
`-- ServiceError                a request to the service failed
    |-- ServiceUnreachableError no connection, or no answer in time
    |-- ServiceReplyError       an answer that is not of this protocol
    `-- ServiceRefusedError     a problem (RFC 9457) with its code
        |-- AssertionTimeError  the service says that our clock is wrong
        |-- ReaderRevokedError  this reader may no longer take part
        `-- SnapshotNeededError the feed cannot be continued from where we are

A refusal of a card is no fault: it is a :class:`entitlements.model.Decision`.
"""

from __future__ import annotations

from pathlib import Path


class ReaderError(Exception):
    """The reader cannot do what was asked."""


class SettingsError(ReaderError):
    """A setting cannot be used."""

    def __init__(self, setting: str, problem: str) -> None:
        super().__init__(f"setting {setting}: {problem}")
        self.setting = setting
        self.problem = problem


class NotEnrolledError(ReaderError):
    """This reader is not enrolled."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"no identity in {folder}: ask an operator for a one-time code and run "
            "'cardreader enrol --config FILE --code CODE'"
        )
        self.folder = folder


class IdentityError(ReaderError):
    """The reader's own key or enrolment cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class DatabaseFaultError(ReaderError):
    """A local database cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class DiskFullError(DatabaseFaultError):
    """The disk is full."""


class CacheFileError(ReaderError):
    """A base file cannot be trusted."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class FeedError(ReaderError):
    """What came for a feed cannot be used."""

    def __init__(self, feed: str, problem: str) -> None:
        super().__init__(f"feed {feed}: {problem}")
        self.feed = feed
        self.problem = problem


class SnapshotRefusedError(FeedError):
    """The snapshot is incomplete, not signed by a pinned key, or not the one that was asked for."""


class UnknownFormatError(FeedError):
    """The service speaks a format that this version of the reader does not know."""


class ServiceError(ReaderError):
    """A request to the service failed."""


class ServiceUnreachableError(ServiceError):
    """The service cannot be reached."""

    def __init__(self, request: str, problem: str) -> None:
        super().__init__(f"{request}: {problem}")
        self.request = request
        self.problem = problem


class ServiceReplyError(ServiceError):
    """The service answered with something that is not of this protocol."""

    def __init__(self, request: str, problem: str) -> None:
        super().__init__(f"{request}: {problem}")
        self.request = request
        self.problem = problem


class ServiceRefusedError(ServiceError):
    """The service answered with a problem (RFC 9457)."""

    def __init__(self, request: str, *, status: int, code: str, detail: str) -> None:
        super().__init__(f"{request}: {status} {code}: {detail}")
        self.request = request
        self.status = status
        self.code = code
        self.detail = detail


class AssertionTimeError(ServiceRefusedError):
    """The service did not accept the time of our assertion. ``server_time`` in ms, None if it did not say."""

    def __init__(self, request: str, *, detail: str, server_time: int | None) -> None:
        super().__init__(request, status=401, code="assertion_time", detail=detail)
        self.server_time = server_time


class ReaderRevokedError(ServiceRefusedError):
    """This reader was revoked."""


class SnapshotNeededError(ServiceRefusedError):
    """The feed cannot be continued from this epoch and number. ``epoch`` and ``number`` are the head's, if told."""

    def __init__(
        self, request: str, *, status: int, code: str, detail: str, epoch: str | None = None, number: int | None = None
    ) -> None:
        super().__init__(request, status=status, code=code, detail=detail)
        self.epoch = epoch
        self.number = number
