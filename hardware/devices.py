"""Device URLs: how a site's settings name its devices.

| URL | device |
|---|---|
| ``mjpeg+http://HOST:PORT/PATH`` | QR by camera, MJPEG over HTTP |
| ``nfc+udp:HOST:PORT`` | NFC, nfcpy's udp driver (virtual cards) |
| ``nfc+tty:NAME:pn532``, ``nfc+usb:VENDOR:PRODUCT`` | NFC, any device path of nfcpy |
| ``nfc+...?uid=yes`` | the same; cards that hold nothing else are known by their serial number |
| ``modbus+tcp://HOST:PORT?unit=1&coil=0&...`` | gate on a Modbus TCP relay board, see ``gates.settings`` |
| ``keypad+tcp://HOST:PORT``, ``keypad+serial:/dev/...`` | keypad that sends ASCII |
| ``log:`` | indicator, JSON lines on standard error |
| ``console:`` | indicator, plain text on standard error |

A family is imported only when a URL asks for it.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from urllib.parse import SplitResult, urlsplit

from hardware.errors import BadDeviceParameterError, MissingFamilyError, UnknownDeviceError
from hardware.interfaces import CredentialSource, GateActuator, Indicator, Keypad

SOURCE_SCHEMES = ("mjpeg+http", "nfc+udp", "nfc+tty", "nfc+usb", "nfc+com")
ACTUATOR_SCHEMES = ("modbus+tcp",)
KEYPAD_SCHEMES = ("keypad+tcp", "keypad+serial")
INDICATOR_SCHEMES = ("log", "console")


def _load(family: str, module: str) -> ModuleType:
    """Import one of our modules; a missing foreign one becomes :class:`MissingFamilyError`."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "hardware":
            raise
        raise MissingFamilyError(family=family, module=error.name) from error


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError as error:
        raise BadDeviceParameterError(url=url, parameter="address", problem=str(error)) from error


def open_source(url: str, *, name: str | None = None) -> CredentialSource:
    """Make the credential source that ``url`` names; it starts when it is entered.

    Raises ``UnknownDeviceError``, ``BadDeviceParameterError`` or ``MissingFamilyError``; never touches the
    device itself.
    """
    scheme = _split(url).scheme
    source: CredentialSource
    if scheme == "mjpeg+http":
        source = _load("camera", "hardware.qr.camera").Camera.from_url(url, name=name)
    elif scheme in SOURCE_SCHEMES:
        source = _load("nfc", "hardware.nfc.reader").NfcReader.from_url(url, name=name)
    else:
        raise UnknownDeviceError(url=url, kind="credential source", known=SOURCE_SCHEMES)
    return source


def open_actuator(url: str, *, name: str | None = None) -> GateActuator:
    """Make the gate that ``url`` names; it connects when it is entered. Raises as :func:`open_source`."""
    if _split(url).scheme not in ACTUATOR_SCHEMES:
        raise UnknownDeviceError(url=url, kind="gate", known=ACTUATOR_SCHEMES)
    gate: GateActuator = _load("modbus", "hardware.gates.modbus").ModbusGate.from_url(url, name=name)
    return gate


def open_keypad(url: str, *, name: str | None = None) -> Keypad:
    """Make the keypad that ``url`` names; it connects when it is entered. Raises as :func:`open_source`."""
    if _split(url).scheme not in KEYPAD_SCHEMES:
        raise UnknownDeviceError(url=url, kind="keypad", known=KEYPAD_SCHEMES)
    keypad: Keypad = _load("keypad", "hardware.keypad.keypad").AsciiKeypad.from_url(url, name=name)
    return keypad


def open_indicator(url: str, *, name: str | None = None) -> Indicator:
    """Make the indicator that ``url`` names. Raises ``UnknownDeviceError``."""
    scheme = _split(url).scheme
    if scheme not in INDICATOR_SCHEMES:
        raise UnknownDeviceError(url=url, kind="indicator", known=INDICATOR_SCHEMES)
    from hardware.indicators.stream import ConsoleIndicator, LogIndicator

    label = name or url
    return LogIndicator(name=label) if scheme == "log" else ConsoleIndicator(name=label)
