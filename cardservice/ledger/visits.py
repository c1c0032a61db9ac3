"""An allowed tap, once it is known whom it was for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from entitlements.compile import CompiledService
from entitlements.facts import PersonFacts
from entitlements.wire.taps import Tap


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """An allowed tap with whom it was for, and what they used."""

    tap: Tap
    at: datetime
    person: UUID
    facts: PersonFacts
    service: CompiledService
