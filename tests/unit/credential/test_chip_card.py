"""A card on a chip: who gets in with it, and everything that a finder, a neighbour or a forger may try instead.

The chip is the virtual one of ``hardware``, which was written from the data sheet and shares no code with the verifier.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entitlements.credential import (
    CardForm,
    Channel,
    KeySet,
    Refused,
    SigningKey,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    card_text,
    sign_card,
    sign_card_cwt,
    verify_at_till,
    verify_presentation,
    verify_static,
)
from entitlements.credential.chip import (
    FILE_BYTES,
    KEY_COUNT,
    MARK,
    META_KEY,
    NO_MASTERS,
    NOT_A_CHIP,
    chip_key,
    chip_template,
    meta_key,
    verify_chip,
)
from entitlements.credential.claims import BAD_CLAIMS, BAD_SIGNATURE, EXPIRED, UNKNOWN_KEY
from entitlements.credential.cwt import verify_cwt
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.errors import AddressTooLongError
from entitlements.credential.presentation import CHIP_WITHOUT_CHIP
from entitlements.credential.sitesecrets import NO_SECRETS, SiteSecrets
from entitlements.credential.sun import PiccData, session_key
from entitlements.credential.uid import NOT_READ_FROM_A_CHIP
from entitlements.model import CardId, CardIndex, Reason
from hardware.virtual.ntag424 import Chip
from tests.support.cards import KEY, KEYS, NEIGHBOUR, NOW, RBKC, STRANGER, WCC
from tests.support.chips import ADDRESS, MASTER, OLD_MASTER, UID, chip_claims, make_chip, tap
from tests.support.vectors import PROJECT

SECRETS = SiteSecrets(chip={WCC: (MASTER,)})
PARTS = re.compile(rb"(.*#RN1:)([^.]*)\.([^.]*)\.([^.]*)", re.DOTALL)


def verify(
    data: bytes, *, secrets: SiteSecrets = SECRETS, keys: KeySet = KEYS, now: int = NOW
) -> VerifiedCard | Refused:
    def judge(cwt: bytes, digest: bytes) -> VerifiedCard | Refused:
        assert digest == hashlib.sha256(cwt).digest()
        return verify_cwt(cwt, keys, now)

    return verify_chip(data, "nfc-ndef", judge, secrets)


def split(link: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Address with mark, card, PICC and MAC of a link."""
    found = PARTS.fullmatch(link)
    assert found is not None
    head, card, picc, mac = found.groups()
    return head, card, picc, mac


def join(head: bytes, card: bytes, picc: bytes, mac: bytes) -> bytes:
    return head + card + b"." + picc + b"." + mac


def test_a_resident_with_a_chip_is_known_and_each_tap_counts() -> None:
    chip = make_chip()
    first, second = verify(tap(chip)), verify(tap(chip))
    assert isinstance(first, VerifiedCard)
    assert isinstance(second, VerifiedCard)
    assert first.claims == chip_claims()
    assert (first.form, first.presentation, first.kid) == (CardForm.CHIP, Channel.CHIP, KEY.kid)
    assert (first.sequence, second.sequence) == (1, 2)
    assert first.digest == second.digest


@pytest.mark.parametrize("key", [KEY, NEIGHBOUR], ids=["wcc", "rbkc"])
def test_a_card_of_either_council_fits_into_the_chip_with_room_for_an_address(key: SigningKey) -> None:
    claims = chip_claims(issuer=key.issuer, index=CardIndex(2**24 - 1), issue_number=2**32 - 1)
    cwt = sign_card_cwt(claims, key)
    for address in ("https://cards.westminster.gov.uk", "https://cards.rbkc.gov.uk/nfc"):
        assert len(chip_template(address, cwt).file) <= FILE_BYTES
    secrets = SiteSecrets(chip={key.issuer: (MASTER,)})
    found = verify(tap(make_chip(claims, key=key)), secrets=secrets)
    assert isinstance(found, VerifiedCard)
    assert found.claims == claims


def test_an_address_that_does_not_fit_says_by_how_much() -> None:
    cwt = sign_card_cwt(chip_claims(), KEY)
    room = FILE_BYTES - len(chip_template("https://a", cwt).file) + 1
    assert len(chip_template("https://" + "a" * room, cwt).file) == FILE_BYTES
    with pytest.raises(AddressTooLongError) as caught:
        chip_template("https://" + "a" * (room + 3), cwt)
    assert caught.value.excess == 3


@pytest.mark.parametrize("address", ["", "https://", "ftp://a", "https://a#b", "https://ä", "https://a b", "a.example"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        chip_template(address, b"card")


def test_the_template_is_where_the_chip_is_told_to_write() -> None:
    template = chip_template(ADDRESS, sign_card_cwt(chip_claims(), KEY))
    file = template.file
    assert file[template.mac_input_offset :].startswith(MARK)
    assert file[template.picc_offset : template.picc_offset + 32] == b"0" * 32
    assert file[template.mac_offset :] == b"0" * 16
    assert int.from_bytes(file[:2], "big") == len(file) - 2
    assert template.settings.hex().upper().startswith("4000E0C1FF12")
    assert len(template.settings) == 15


def test_each_chip_has_keys_of_its_own_and_all_of_a_council_one_for_their_numbers() -> None:
    other = bytes.fromhex("04DE5F1EACC041")
    mine = [chip_key(MASTER, UID, number) for number in range(KEY_COUNT)]
    theirs = [chip_key(MASTER, other, number) for number in range(KEY_COUNT)]
    assert len(set(mine)) == KEY_COUNT
    assert [number for number in range(KEY_COUNT) if mine[number] == theirs[number]] == [META_KEY]
    assert mine[META_KEY] == meta_key(MASTER) != meta_key(OLD_MASTER)
    for uid, number in ((UID[:4], 2), (UID, KEY_COUNT), (UID, -1)):
        with pytest.raises(ValueError, match="chip"):
            chip_key(MASTER, uid, number)


def test_chips_of_the_last_master_go_on_after_a_rotation_and_end_when_it_is_retired() -> None:
    old, new = make_chip(master=OLD_MASTER), make_chip(master=MASTER)
    both = SiteSecrets(chip={WCC: (MASTER, OLD_MASTER)})
    assert isinstance(verify(tap(old), secrets=both), VerifiedCard)
    assert isinstance(verify(tap(new), secrets=both), VerifiedCard)
    assert verify(tap(old), secrets=SECRETS) == BAD_SIGNATURE


def test_a_site_that_needs_no_chips_holds_no_keys_and_lets_none_in() -> None:
    link = tap(make_chip())
    assert verify(link, secrets=NO_SECRETS) == NO_MASTERS
    assert verify(link, secrets=SiteSecrets(chip={RBKC: (MASTER,)})) == NO_MASTERS
    assert NO_MASTERS.reason is Reason.PRESENTATION_NOT_ACCEPTED


Attack = Callable[[Chip, Chip], bytes]


def _of_another_chip(mine: Chip, yours: Chip) -> bytes:
    head, card, _, _ = split(tap(yours))
    return join(head, card, *split(tap(mine))[2:])


def _unmirrored(mine: Chip, yours: Chip) -> bytes:
    head, card, _, _ = split(tap(yours))
    return join(head, card, b"0" * 32, b"0" * 16)


def _counter_kept_mac_of_the_next(mine: Chip, yours: Chip) -> bytes:
    head, card, picc, _ = split(tap(yours))
    return join(head, card, picc, split(tap(yours))[3])


@pytest.mark.parametrize(
    "attack",
    [
        _of_another_chip,
        _unmirrored,
        _counter_kept_mac_of_the_next,
        lambda mine, yours: tap(yours).lower().replace(b"rn1:", b"RN1:"),
        lambda mine, yours: tap(yours) + b"0",
        lambda mine, yours: tap(yours)[:-1],
        lambda mine, yours: tap(yours)[:-17],
        lambda mine, yours: tap(yours).replace(b"#RN1:", b"#RN1:="),
        lambda mine, yours: tap(yours).replace(b".", b"%2E"),
    ],
    ids=[
        "a card moved to another chip",
        "the card read out and the rest made up",
        "parts of two readings",
        "another case",
        "one more",
        "one less",
        "no MAC",
        "padding",
        "percent-encoded",
    ],
)
def test_a_link_that_the_chip_did_not_write_as_it_is_opens_nothing(attack: Attack) -> None:
    mine = make_chip(chip_claims(card_id=CardId(b"attacker")), uid=bytes.fromhex("04000000000001"))
    assert verify(attack(mine, make_chip())) == BAD_SIGNATURE


def test_a_link_of_the_other_council_and_of_a_key_nobody_published_opens_nothing() -> None:
    theirs = make_chip(chip_claims(issuer=RBKC), key=NEIGHBOUR, master=OLD_MASTER)
    secrets = SiteSecrets(chip={WCC: (MASTER,), RBKC: (OLD_MASTER,)})
    assert isinstance(verify(tap(theirs), secrets=secrets), VerifiedCard)
    # Their chip with our master, and ours with theirs: each master counts for its own council only.
    swapped = SiteSecrets(chip={WCC: (OLD_MASTER,), RBKC: (MASTER,)})
    assert verify(tap(theirs), secrets=swapped) == BAD_SIGNATURE
    assert verify(tap(make_chip(key=STRANGER))) == UNKNOWN_KEY


def test_a_static_card_does_not_become_a_chip_by_being_written_to_one() -> None:
    """Whoever knows a chip's keys is the council itself, so this is a fault of the issuer and told as one."""
    assert verify(tap(make_chip(chip_claims(channel=Channel.STATIC)))) == BAD_CLAIMS


def test_a_chip_ends_with_its_card() -> None:
    claims = chip_claims()
    link = tap(make_chip(claims))
    assert isinstance(verify(link, now=claims.expires_at - 1), VerifiedCard)
    assert verify(link, now=claims.expires_at) == EXPIRED


@pytest.mark.parametrize(
    "link", [b"https://www.example.org/", b"http://", b"https://cards.wcc.example#live", b"https://" + b"a" * 4000]
)
def test_any_other_link_is_simply_no_card(link: bytes) -> None:
    assert verify(link) == NOT_A_CHIP


def test_the_address_proves_nothing_and_may_change() -> None:
    """A council may move its site: the MAC covers the card, the signature says whose it is."""
    _, _, rest = tap(make_chip()).partition(b"#")
    assert isinstance(verify(b"https://moved.example/cards?x=1#" + rest), VerifiedCard)
    assert verify(b"https://two#marks#" + rest) == BAD_SIGNATURE
    assert verify(b"https://line\nfeed#" + rest) == BAD_SIGNATURE


def _present(data: bytes, media: str, memory: VerifiedMemory | None = None) -> VerifiedCard | Refused:
    return verify_presentation(UnverifiedPresentation(data=data, media=media), KEYS, NOW, memory, secrets=SECRETS)


def test_a_picture_of_a_chips_link_is_no_chip() -> None:
    link = tap(make_chip())
    assert _present(link, "qr") == NOT_READ_FROM_A_CHIP
    assert isinstance(_present(link, "nfc-ndef"), VerifiedCard)


def test_a_card_read_off_a_chip_in_passing_and_printed_opens_nothing() -> None:
    """The card itself is in the open, so it must not be worth what a printed card is worth."""
    memory = VerifiedMemory()
    cwt = sign_card_cwt(chip_claims(), KEY)
    as_jwt = sign_card(chip_claims(status_uri="https://cards.wcc.example/s/1"), KEY).encode()
    link = tap(make_chip())
    for _ in range(2):
        for copy in (card_text(cwt).encode(), as_jwt):
            assert _present(copy, "qr", memory) == _present(copy, "nfc-ndef") == CHIP_WITHOUT_CHIP
            assert verify_static(copy, KEYS, NOW) == verify_at_till(copy, KEYS, NOW) == CHIP_WITHOUT_CHIP
        # Nor does the chip's own tap, which remembers the card, make the print any better.
        assert isinstance(_present(link, "nfc-ndef", memory), VerifiedCard)


def test_a_regular_visitor_with_a_chip_costs_one_signature_check_and_a_revoked_key_ends_it() -> None:
    memory, chip = VerifiedMemory(), make_chip()
    for count in (1, 2, 3):
        found = _present(tap(chip), "nfc-ndef", memory)
        assert isinstance(found, VerifiedCard)
        assert found.sequence == count
        assert len(memory) == 1
    presentation = UnverifiedPresentation(data=tap(chip), media="nfc-ndef")
    gone = KEYS.without(KEY.kid)
    assert verify_presentation(presentation, gone, NOW, memory, secrets=SECRETS) == UNKNOWN_KEY


def test_the_worked_example_of_the_protocol_page_is_what_the_code_does() -> None:
    page = (PROJECT / "docs" / "protocols" / "chip.md").read_text("utf-8")
    template = chip_template(ADDRESS, sign_card_cwt(chip_claims(), KEY))
    keys = [chip_key(MASTER, UID, number) for number in range(KEY_COUNT)]
    chip = make_chip(counter=60, padding=lambda _: bytes.fromhex("DA5CF60941"))
    assert f"\n    {tap(chip).decode()}\n" in page
    read = PiccData(uid=UID, counter=61)
    for octets in (MASTER, UID, template.settings, session_key(keys[2], read), *keys):
        assert f"`{octets.hex().upper()}`" in page


@given(st.integers(0, 2**24 - 2), st.binary(min_size=7, max_size=7), st.data())
def test_one_changed_octet_anywhere_behind_the_address_opens_nothing(
    counter: int, uid: bytes, data: st.DataObject
) -> None:
    chip = make_chip(uid=uid, counter=counter)
    link = tap(chip)
    found = verify(link)
    assert isinstance(found, VerifiedCard)
    assert found.sequence == counter + 1
    at = data.draw(st.integers(link.index(MARK), len(link) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda other: other != link[at]))
    refused = verify(link[:at] + bytes([octet]) + link[at + 1 :])
    assert isinstance(refused, Refused)
    assert refused.reason in (Reason.BAD_SIGNATURE, Reason.PRESENTATION_NOT_ACCEPTED)


@given(
    st.one_of(
        st.binary(max_size=400),
        st.builds(
            lambda head, card, picc, mac: head + b"#RN1:" + card + b"." + picc + b"." + mac,
            st.sampled_from([b"https://a", b"http://a.example/b", b"https://", b""]),
            st.one_of(st.binary(max_size=200).map(b64url_encode), st.binary(max_size=200)),
            st.one_of(st.binary(min_size=16, max_size=16).map(lambda raw: raw.hex().upper().encode()), st.binary()),
            st.one_of(st.binary(min_size=8, max_size=8).map(lambda raw: raw.hex().upper().encode()), st.binary()),
        ),
    )
)
def test_no_octets_raise_anything_or_pass_for_a_card(data: bytes) -> None:
    assert isinstance(verify(data), Refused)
