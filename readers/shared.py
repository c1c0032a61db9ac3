"""What all lanes of the site share."""

from __future__ import annotations

from dataclasses import dataclass

from readers.clock import TrustedClock
from readers.gate import Gate
from readers.identifiers import TapIds
from readers.outbox import Outbox
from readers.own import OwnBook
from readers.pins import PinGuard
from readers.presence import PresenceBook
from readers.secrets import SecretsKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The parts of the daemon that a lane works with, the same for every lane."""

    gate: Gate
    clock: TrustedClock
    presence: PresenceBook
    own: OwnBook
    outbox: Outbox
    pins: PinGuard
    secrets: SecretsKeeper
    ids: TapIds
