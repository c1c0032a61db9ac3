"""Legacy chips' numbers as gates get them, where a service takes cards by nothing better."""

from __future__ import annotations

from cardservice.cards.signing import card_text
from cardservice.db import Connection, queries
from entitlements.credential.encoding import b64url_encode
from entitlements.wire.secrets import UidCard


async def uid_cards(conn: Connection, tenant: str) -> list[UidCard]:
    """Active cards of a council that are known by a number, each by its hash; the claims that no signature carries."""
    return [
        UidCard(
            tenant=tenant,
            uid_hash=b64url_encode(row["uid_hash"]).decode(),
            index=row["card_index"],
            card=card_text(row["card_id"]),
            issued_at=int(row["issued_at"].timestamp()),
            expires_at=int(row["expires_at"].timestamp()),
            issue_number=row["issue_number"],
        )
        async for row in queries().chips.numbers(conn, tenant=tenant)
    ]
