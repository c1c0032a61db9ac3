"""Faults of devices.

HardwareError
|-- DeviceUrlError            a device URL that cannot be understood
|   |-- UnknownDeviceError
|   `-- BadDeviceParameterError
|-- MissingFamilyError        the optional package of a device family is not installed
|-- SourceError               a source of credentials
|   |-- BadStreamError          a camera sends something that is no MJPEG stream
|   |-- LinkLostError           the card left, or the air link broke
|   |-- ProbeTimeoutError       the card was too slow
|   `-- CardError               the card breaks the protocol it claims to speak
`-- GateError                 a gate
    |-- GateUnreachableError
    `-- GateRefusedError

A device that goes away while it is in use is no exception but a ``Down`` event.
"""

from __future__ import annotations


class HardwareError(Exception):
    """A device cannot do what was asked."""


class DeviceUrlError(HardwareError):
    """The device URL cannot be used."""

    def __init__(self, message: str, *, url: str) -> None:
        super().__init__(message)
        self.url = url


class UnknownDeviceError(DeviceUrlError):
    """No device of this kind is known by that scheme."""

    def __init__(self, *, url: str, kind: str, known: tuple[str, ...]) -> None:
        super().__init__(f"{url!r} names no {kind} that is known; schemes: {', '.join(known)}", url=url)
        self.kind = kind
        self.known = known


class BadDeviceParameterError(DeviceUrlError):
    """A part of the device URL is missing, unknown or out of range."""

    def __init__(self, *, url: str, parameter: str, problem: str) -> None:
        super().__init__(f"{url!r}: {parameter} {problem}", url=url)
        self.parameter = parameter
        self.problem = problem


class MissingFamilyError(HardwareError):
    """A device family is not installed."""

    def __init__(self, *, family: str, module: str) -> None:
        super().__init__(
            f"devices of the family {family!r} need the module {module!r}: pip install 'rescard[{family}]'"
        )
        self.family = family
        self.module = module


class SourceError(HardwareError):
    """A source of credentials failed."""


class BadStreamError(SourceError):
    """The stream is not multipart/x-mixed-replace with JPEG parts."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"not a usable MJPEG stream: {problem}")
        self.problem = problem


class LinkLostError(SourceError):
    """The card left the field or the air link broke."""


class ProbeTimeoutError(SourceError):
    """The card did not finish its dialogue in time."""


class CardError(SourceError):
    """The card breaks the protocol it claims to speak."""

    def __init__(self, problem: str, *, status: int | None = None) -> None:
        super().__init__(problem if status is None else f"{problem} (status {status:04X})")
        self.problem = problem
        self.status = status


class GateError(HardwareError):
    """A gate did not do what was asked."""

    def __init__(self, message: str, *, gate: str) -> None:
        super().__init__(f"{gate}: {message}")
        self.gate = gate
        self.problem = message


class GateUnreachableError(GateError):
    """The gate's controller does not answer; whether it released is not known."""


class GateRefusedError(GateError):
    """The gate's controller answered with an error."""

    def __init__(self, message: str, *, gate: str, code: int | None = None) -> None:
        super().__init__(message, gate=gate)
        self.code = code
