"""Masters as requests and replies carry them: never the secret itself."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from cardservice.api.models import ApiModel
from cardservice.sitesecrets.masters import Kind


class SecretReply(ApiModel):
    """One master. The newest of a kind that is not retired makes new secrets."""

    secret_id: UUID
    kind: Kind
    created_at: datetime
    retired_at: datetime | None


class SecretList(ApiModel):
    """Masters of the council, newest first."""

    items: list[SecretReply]
