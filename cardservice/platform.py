"""What every part of the service works with. ``cardservice.app`` makes it; nothing else does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cardservice.api.tokens import Remembered
from cardservice.db import Database
from cardservice.settings import Settings
from cardservice.shared import Shared

if TYPE_CHECKING:
    from cardservice.api.call import Actor
    from cardservice.background.publications import Publications
    from cardservice.catalogue.life.replaying import Replays
    from cardservice.catalogue.life.schedule import Scheduler
    from cardservice.feed.hub import Hub
    from cardservice.feed.snapshot import Snapshots
    from cardservice.keys.encryption import KeyEncryption
    from cardservice.keys.rotation import Rotations
    from cardservice.keys.sealing import Sealer
    from cardservice.keys.shared_secret import SharedSecret
    from cardservice.keys.store import KeyStore
    from cardservice.metrics import Metrics
    from cardservice.pins.verifiers import Verifiers
    from cardservice.sitesecrets.desk import SecretsDesk
    from cardservice.sitesecrets.masters import MasterStore
    from cardservice.status.lists import StatusLists
    from cardservice.web.board import Board


@dataclass(frozen=True, kw_only=True)
class Platform:
    """The parts that live as long as the process."""

    settings: Settings
    db: Database
    keys: KeyStore
    encryption: KeyEncryption
    replies: Sealer
    tenant_secrets: Sealer
    cookies: SharedSecret
    rotations: Rotations
    hub: Hub
    snapshots: Snapshots
    status: StatusLists
    metrics: Metrics
    shared: Shared
    gates: Board
    replays: Replays
    scheduler: Scheduler
    publications: Publications
    masters: MasterStore
    site_secrets: SecretsDesk
    verifiers: Verifiers
    tokens: Remembered[Actor] = field(default_factory=Remembered)
