"""If these fail, codes on paper and on phones no longer open gates: a wire form was changed by accident."""

from pathlib import Path

import pytest

from entitlements.credential import (
    CardClaims,
    CardForm,
    Channel,
    KeySet,
    Refused,
    SiteSecrets,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    card_text,
    live_text,
    sign_card_cwt,
    verify_cwt_cbor2,
    verify_presentation,
)
from entitlements.credential.base45 import b45_decode, b45_encode
from entitlements.credential.es256 import sign_message
from entitlements.credential.live import live_message
from entitlements.model import CardId, CardIndex, Instant, Reason, TenantId
from tests.support.cards import COUNCILS, KEYS, PHONE
from tests.support.vectors import own_json

GOLDEN = own_json("credential", "codes.json")
SECRETS = SiteSecrets(totp={issuer: (bytes.fromhex(master),) for issuer, master in GOLDEN["totp"].items()})
CASES = [pytest.param(case, id=case["name"]) for case in GOLDEN["codes"]]
WITH_BYTES = [pytest.param(case, id=case["name"]) for case in GOLDEN["codes"] if "bytes" in case]
LIVE_CODES = {case["name"] for case in GOLDEN["codes"] if case["text"].startswith("RC1:")}
BY_NAME = {case["name"]: case for case in GOLDEN["codes"]}
PAGE = Path(__file__).parents[3] / "docs" / "protocols" / "card-forms.md"


def claims_of(case) -> CardClaims:
    members = case["card"]["claims"]
    device_key = members["device_key"]
    return CardClaims(
        issuer=TenantId(members["issuer"]),
        card_id=CardId(bytes.fromhex(members["card_id"])),
        index=CardIndex(members["index"]),
        issued_at=Instant(members["issued_at"]),
        expires_at=Instant(members["expires_at"]),
        issue_number=members["issue_number"],
        channel=Channel(members["channel"]),
        device_key=None if device_key is None else bytes.fromhex(device_key),
    )


def expected(case) -> VerifiedCard | Refused:
    if "refused" in case:
        return Refused(reason=Reason(case["refused"]["reason"]), detail=case["refused"]["detail"])
    card = case["card"]
    return VerifiedCard(
        claims=claims_of(case),
        form=CardForm(card["form"]),
        kid=card["kid"],
        digest=bytes.fromhex(card["digest"]),
        presentation=Channel(card["presentation"]),
        sequence=card["sequence"],
    )


def test_the_written_keys_are_those_of_the_tests():
    members = GOLDEN["jwks"]["keys"]
    keys = [KeySet.from_jwks(key.issuer, {"keys": [member]}) for key, member in zip(COUNCILS, members, strict=True)]
    assert keys[0].merged(keys[1]) == KEYS


@pytest.mark.parametrize("case", CASES)
def test_a_gate_judges_the_code_as_written_down(case):
    presentation = UnverifiedPresentation(data=case["text"].encode(), media="qr")
    memory = VerifiedMemory()
    for _visit in range(2):
        result = verify_presentation(presentation, KEYS, GOLDEN["now"], memory, GOLDEN["leeway"], SECRETS)
        assert result == expected(case)


@pytest.mark.parametrize("case", WITH_BYTES)
def test_the_text_is_the_base45_of_the_bytes_written_down(case):
    raw, body = bytes.fromhex(case["bytes"]), case["text"][4:].encode()
    assert b45_decode(body) == raw
    assert b45_encode(raw) == body


@pytest.mark.parametrize("case", [case for case in WITH_BYTES if case.id not in LIVE_CODES])
def test_the_service_judges_the_card_as_the_gate_does(case):
    result = verify_cwt_cbor2(bytes.fromhex(case["bytes"]), KEYS, GOLDEN["now"], GOLDEN["leeway"])
    assert result == expected(case)


@pytest.mark.parametrize(
    "name", ["paper card", "paper card of the neighbouring council, largest numbers of a small code", "largest numbers"]
)
def test_the_service_still_writes_the_very_same_card(name):
    claims = claims_of(BY_NAME[name])
    key = next(key for key in COUNCILS if key.issuer == claims.issuer)
    assert card_text(sign_card_cwt(claims, key)) == BY_NAME[name]["text"]


def test_a_phone_still_shows_the_very_same_code():
    case = BY_NAME["live code"]
    cwt = bytes.fromhex(BY_NAME["live card without its phone"]["bytes"])
    assert sign_card_cwt(claims_of(case), COUNCILS[0]) == cwt
    iat = case["card"]["sequence"]
    assert live_text(cwt, iat, sign_message(PHONE, live_message(cwt, iat))) == case["text"]


def test_the_page_for_other_peoples_software_shows_these_very_codes():
    page = "".join(PAGE.read_text("utf-8").split())
    for name in ("paper card", "live code", "rotating code"):
        assert "".join(BY_NAME[name]["text"].split()) in page, name
    for name in ("paper card", "live card without its phone"):
        assert BY_NAME[name]["bytes"] in page, name
    assert live_message(bytes.fromhex(BY_NAME["live card without its phone"]["bytes"]), GOLDEN["now"] - 3).hex() in page


def test_the_written_cases_cover_every_verdict():
    verdicts = {case["card"]["form"] if "card" in case else case["refused"]["reason"] for case in GOLDEN["codes"]}
    reasons = {"bad_signature", "card_expired", "clock_untrusted", "presentation_not_accepted", "expired_code"}
    assert verdicts == {"cwt", "live", "totp", *reasons}
