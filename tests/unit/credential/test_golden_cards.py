"""If these fail, cards in residents' pockets no longer open gates: the wire form was changed by accident."""

import pytest

from entitlements.credential import (
    CardClaims,
    CardForm,
    Channel,
    KeySet,
    Refused,
    SigningKey,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    generate_private_key,
    sign_card,
    verify_presentation,
    verify_static,
)
from entitlements.model import CardId, CardIndex, Instant, Reason, TenantId
from tests.support.cards import BOTH_PATHS
from tests.support.vectors import own_json

GOLDEN = own_json("credential", "cards.json")
KEYS = KeySet()
for _issuer, _jwks in GOLDEN["jwks"].items():
    KEYS = KEYS.merged(KeySet.from_jwks(TenantId(_issuer), _jwks))
CASES = [pytest.param(case, id=case["name"]) for case in GOLDEN["cards"]]


def claims_of(case) -> CardClaims:
    members = case["card"]["claims"]
    device_key = members["device_key"]
    return CardClaims(
        issuer=TenantId(members["issuer"]),
        card_id=CardId(bytes.fromhex(members["card_id"])),
        index=CardIndex(members["index"]),
        status_uri=members["status_uri"],
        issued_at=Instant(members["issued_at"]),
        expires_at=Instant(members["expires_at"]),
        issue_number=members["issue_number"],
        channel=Channel(members["channel"]),
        device_key=None if device_key is None else bytes.fromhex(device_key),
    )


def expected(case) -> VerifiedCard | Refused:
    if "refused" in case:
        return Refused(reason=Reason(case["refused"]["reason"]), detail=case["refused"]["detail"])
    digest = bytes.fromhex(case["card"]["digest"])
    return VerifiedCard(claims=claims_of(case), form=CardForm.JWT, kid=case["card"]["kid"], digest=digest)


def shown(case) -> VerifiedCard | Refused:
    """What is said of it where it is shown as it stands; the card alone may be in order all the same."""
    return expected(case.get("shown", case))


@pytest.mark.parametrize("case", CASES)
def test_a_gate_judges_the_card_as_written_down(case):
    presentation = UnverifiedPresentation(data=case["token"].encode(), media="qr")
    memory = VerifiedMemory()
    for _visit in range(2):
        assert verify_presentation(presentation, KEYS, GOLDEN["now"], memory, GOLDEN["leeway"]) == shown(case)


@pytest.mark.parametrize("case", CASES)
def test_the_service_judges_a_card_that_it_is_shown_as_a_gate_does(case):
    assert verify_static(case["token"].encode(), KEYS, GOLDEN["now"], GOLDEN["leeway"]) == shown(case)


@pytest.mark.parametrize("verify", BOTH_PATHS.values(), ids=BOTH_PATHS.keys())
@pytest.mark.parametrize("case", CASES)
def test_both_ways_of_verifying_judge_the_card_as_written_down(case, verify):
    token = case["token"].encode()
    if not token.startswith(b"eyJ"):
        assert isinstance(verify(token, KEYS, GOLDEN["now"]), Refused)
        return
    assert verify(token, KEYS, GOLDEN["now"], GOLDEN["leeway"]) == expected(case)


@pytest.mark.parametrize(
    "case", [case for case in GOLDEN["cards"] if case.get("own_form")], ids=lambda case: case["name"]
)
def test_the_service_still_writes_the_very_same_card(case):
    claims = claims_of(case)
    key = SigningKey.of(claims.issuer, generate_private_key(), kid=case["card"]["kid"])
    assert sign_card(claims, key).rpartition(".")[0] == case["token"].rpartition(".")[0]


def test_the_written_cases_cover_both_verdicts():
    verdicts = {"card" if "card" in case else case["refused"]["reason"] for case in GOLDEN["cards"]}
    assert verdicts == {"card", "bad_signature", "card_expired", "clock_untrusted", "presentation_not_accepted"}
