"""If these fail, codes of a Google pass do not match Google's, or an old picture of one opens a gate."""

import hmac

import pytest

from entitlements.credential import (
    NO_SECRETS,
    CardForm,
    Channel,
    InvalidKeyError,
    SiteSecrets,
    UnverifiedPresentation,
    VerifiedCard,
    totp_secret,
    totp_text,
    verify_presentation,
)
from entitlements.credential.claims import BAD_SIGNATURE, INSTANT_MAX
from entitlements.credential.sitesecrets import MAX_MASTERS
from entitlements.credential.totp import NO_MASTER, TOTP_PERIOD, WRONG_CODE, hotp, totp_step
from entitlements.model import CardId, CardIndex, Instant, Reason
from tests.support.cards import KEYS, NOW, WCC

MASTER, OLD_MASTER, OTHER_MASTER = (bytes([n]) * 32 for n in (1, 2, 3))
SECRETS = SiteSecrets(totp={"wcc": (MASTER, OLD_MASTER), "rbkc": (OTHER_MASTER,)})
ID = CardId(bytes.fromhex("0102030405060708"))
STEP = totp_step(NOW)


def code(step=STEP, master=MASTER, card_id=ID, issuer="wcc", index=4711):
    return totp_text(issuer, index, card_id, hotp(totp_secret(master, card_id, index), step))


def show(text, now=NOW, secrets=SECRETS):
    data = text if isinstance(text, bytes) else text.encode()
    return verify_presentation(UnverifiedPresentation(data=data, media="qr"), KEYS, now, secrets=secrets)


RFC_SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("counter", "password"),
    list(
        enumerate(["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"])
    ),
)
def test_the_values_of_rfc_4226_appendix_d(counter, password):
    assert hotp(RFC_SECRET, counter, digits=6) == password


@pytest.mark.parametrize(
    ("seconds", "password"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_values_of_rfc_6238_appendix_b(seconds, password):
    assert hotp(RFC_SECRET, seconds // 30) == password


def test_a_cards_secret_is_derived_as_written_down():
    reference = ID + b"\x00\x00\x12\x67"
    assert totp_secret(MASTER, ID, 4711) == hmac.digest(MASTER, b"RG1 secret\0" + reference, "sha256")[:20]
    others = {totp_secret(*given) for given in ((OLD_MASTER, ID, 4711), (MASTER, bytes(8), 4711), (MASTER, ID, 4712))}
    assert len({totp_secret(MASTER, ID, 4711), *others}) == 4


def test_a_revoked_card_cannot_name_the_place_of_another_in_the_status_list():
    text = code(index=4711)
    assert show(text.replace(".4711.", ".4712.")) == WRONG_CODE


def test_a_rotating_code_is_a_static_presentation_that_knows_its_step():
    card = show(code())
    assert isinstance(card, VerifiedCard)
    assert (card.form, card.presentation, card.sequence, card.kid) == (CardForm.TOTP, Channel.STATIC, STEP, "")
    claims = card.claims
    assert (claims.issuer, claims.card_id, claims.index) == (WCC, ID, CardIndex(4711))
    assert (claims.issued_at, claims.expires_at, claims.issue_number) == (Instant(0), Instant(INSTANT_MAX), 0)


@pytest.mark.parametrize(("away", "good"), [(-9, False), (-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_is_good_for_its_step_and_one_on_either_side(away, good):
    result = show(code(STEP + away))
    if good:
        assert isinstance(result, VerifiedCard)
        assert result.sequence == STEP + away
    else:
        assert result == WRONG_CODE
        assert result.reason is Reason.EXPIRED_CODE


def test_a_picture_of_a_pass_dies_within_half_a_minute():
    text = code()
    begin = STEP * TOTP_PERIOD
    assert isinstance(show(text, now=begin + 2 * TOTP_PERIOD - 1), VerifiedCard)
    assert show(text, now=begin + 2 * TOTP_PERIOD) == WRONG_CODE


def test_the_identity_of_the_card_is_the_same_at_every_step_and_another_for_another_card():
    cards = [show(text) for text in (code(), code(STEP + 1), code(index=5), code(card_id=CardId(bytes(8))))]
    digests = [card.digest for card in cards if isinstance(card, VerifiedCard)]
    assert digests[0] == digests[1] == digests[2]
    assert digests[3] != digests[0]


def test_codes_of_the_master_before_the_last_are_still_read():
    assert isinstance(show(code(master=OLD_MASTER)), VerifiedCard)
    assert show(code(master=OTHER_MASTER)) == WRONG_CODE
    assert show(code(master=MASTER), secrets=SiteSecrets(totp={"wcc": (OLD_MASTER,)})) == WRONG_CODE


def test_a_site_without_the_councils_master_does_not_accept_its_codes():
    for secrets in (NO_SECRETS, SiteSecrets(totp={"rbkc": (MASTER,)}), SiteSecrets(totp={"wcc": ()})):
        refused = show(code(), secrets=secrets)
        assert refused == NO_MASTER
        assert refused.reason is Reason.PRESENTATION_NOT_ACCEPTED


def test_a_councils_codes_do_not_pass_for_its_neighbours():
    assert isinstance(show(code(issuer="rbkc", master=OTHER_MASTER)), VerifiedCard)
    assert show(code(issuer="rbkc", master=MASTER)) == WRONG_CODE


def test_another_cards_code_is_no_code_of_this_one():
    text = code()
    stolen = totp_text("wcc", 4711, CardId(bytes(8)), text[-8:])
    assert show(stolen) == WRONG_CODE


@pytest.mark.parametrize(
    "text",
    [
        "RG1:",
        "RG1:wcc",
        "RG1:wcc.4711.AQIDBAUGBwg",
        "RG1:wcc.4711.AQIDBAUGBwg.",
        "RG1:wcc.4711.AQIDBAUGBwg.1234567",
        "RG1:wcc.4711.AQIDBAUGBwg.123456789",
        "RG1:wcc.4711.AQIDBAUGBwg.1234567a",
        "RG1:wcc.4711.AQIDBAUGBwg.١٢٣٤٥٦٧٨",
        "RG1:wcc.4711.AQIDBAUGBwg.+1234567",
        "RG1:wcc.4711.AQIDBAUGBwh.12345678",
        "RG1:wcc.4711.AQIDBAUGBwg=.12345678",
        "RG1:wcc.4711.AQIDBAUGBw.12345678",
        "RG1:wcc.4711.AQIDBAUGBwgA.12345678",
        "RG1:wcc.04711.AQIDBAUGBwg.12345678",
        "RG1:wcc.-1.AQIDBAUGBwg.12345678",
        "RG1:wcc.4294967296.AQIDBAUGBwg.12345678",
        "RG1:wcc.9999999999.AQIDBAUGBwg.12345678",
        "RG1:WCC.4711.AQIDBAUGBwg.12345678",
        "RG1:.4711.AQIDBAUGBwg.12345678",
        "RG1:wcc.4711.AQIDBAUGBwg.12345678\n",
        "RG1:wcc.4711.AQIDBAUGBwg.12345678.1",
        "RG1: wcc.4711.AQIDBAUGBwg.12345678",
        "RG1:wcc.4711.AQIDBAUGBwg." + "1" * 1_000_000,
    ],
    ids=lambda text: text[:50],
)
def test_texts_that_no_pass_shows_are_refused(text):
    assert show(text) == BAD_SIGNATURE


def test_the_first_steps_of_time_are_judged_without_a_fault():
    assert isinstance(show(code(0), now=0), VerifiedCard)
    assert isinstance(show(code(1), now=0), VerifiedCard)


@pytest.mark.parametrize(
    "secrets",
    [
        {"totp": {"wcc": (bytes(31),)}},
        {"totp": {"wcc": ("x" * 32,)}},
        {"chip": {"wcc": (bytes(32),)}},
        {"totp": {"wcc": (bytes(32),) * (MAX_MASTERS + 1)}},
    ],
    ids=["short", "text", "long", "many"],
)
def test_secrets_of_another_form_are_refused_when_they_are_made(secrets):
    with pytest.raises(InvalidKeyError):
        SiteSecrets(**secrets)


def test_secrets_show_in_no_repr():
    assert "\\x01" not in repr(SECRETS)
    assert MASTER.hex() not in repr(SECRETS)
