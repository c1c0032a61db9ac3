"""A card put on a chip a moment ago: let in as soon as the service knows it, and strangers' cards cost it nothing."""

from __future__ import annotations

import base64
from pathlib import Path

from entitlements.credential.uid import uid_hash
from entitlements.wire.secrets import SecretsPage, UidCard
from tests.unit.readers.kit import counted
from tests.unit.readers.kit.council import Card, Council
from tests.unit.readers.kit.rig import rig
from tests.unit.readers.kit.site import until

KEY = bytes(range(32))
NUMBER, STRANGER = "04AABBCCDDEEFF", "04AABBCCDDEE00"


def text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def page(tag: str, *cards: Card) -> SecretsPage:
    return SecretsPage(
        tag=tag,
        uid_keys={"wcc": [text(KEY)]},
        uids=[
            UidCard(
                tenant="wcc",
                uid_hash=text(uid_hash(KEY, bytes.fromhex(NUMBER))),
                index=card.claims.index,
                card=text(card.claims.card_id),
                issued_at=card.claims.issued_at,
                expires_at=card.claims.expires_at,
                issue_number=card.claims.issue_number,
            )
            for card in cards
        ],
    )


def council() -> Council:
    return counted.council_with(counted.document(requires=[{"presentation": ["uid"]}]))


async def test_a_chip_registered_a_moment_ago_opens_the_gate_before_any_beat(tmp_path: Path) -> None:
    made = council()
    card = made.issue(in_snapshot=True)
    async with rig(tmp_path, council=made, secrets=SecretsPage(tag="none")) as site:
        site.service.secrets = page("one", card)
        site.source().present(f"RU1:{NUMBER}".encode(), "nfc-uid")
        await until(lambda: site.counts()["passed"] == 1)
        assert [tap["reason"] for tap in await site.taps(1)] == ["ok"]


async def test_a_row_of_strangers_asks_the_service_once(tmp_path: Path) -> None:
    made = council()
    card = made.issue(in_snapshot=True)
    async with rig(tmp_path, council=made, secrets=page("one", card)) as site:
        asked = site.service.secrets_asked
        for count in range(1, 6):
            site.source().present(f"RU1:{STRANGER}".encode(), "nfc-uid")
            await until(lambda count=count: site.counts()["deny"] == count)
        assert site.service.secrets_asked == asked + 1
        assert [tap["reason"] for tap in await site.taps(5)] == ["unknown_card"] * 5


async def test_a_chip_is_refused_with_its_reason_when_the_service_cannot_say(tmp_path: Path) -> None:
    made = council()
    card = made.issue(in_snapshot=True)
    async with rig(tmp_path, council=made, secrets=page("one", card)) as site:
        await site.service.stop()
        site.source().present(f"RU1:{STRANGER}".encode(), "nfc-uid")
        await site.display().until("This card is not known here")
        site.source().present(f"RU1:{NUMBER}".encode(), "nfc-uid")
        await until(lambda: site.counts()["passed"] == 1)
