"""If these fail, some bytes held to a reader stop it, or the gate and the service judge one small code differently."""

import tracemalloc

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from entitlements.credential import (
    CardClaims,
    CardForm,
    Channel,
    Refused,
    SiteSecrets,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    card_text,
    sign_card,
    sign_card_cwt,
    totp_secret,
    totp_text,
    verify_at_till,
    verify_cwt,
    verify_cwt_cbor2,
    verify_presentation,
    verify_static,
)
from entitlements.credential.base45 import b45_encode
from entitlements.credential.claims import INDEX_LIMIT, INSTANT_MAX, ISSUE_NUMBER_LIMIT
from entitlements.credential.presentation import CHIP_WITHOUT_CHIP
from entitlements.credential.totp import hotp, totp_step
from entitlements.model import CardId, CardIndex, Instant
from tests.support.cards import KEY, KEYS, NOW, PHONE_KEY, WCC, card_claims, live_code
from tests.support.cwt import HONEST, PAYLOAD, PROTECTED, cwt, encode, headers, members

# A signature costs some 0.2 ms in each path; the slow first example of a run must not count as a hang.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LIVE_CARD = sign_card_cwt(card_claims(channel=Channel.LIVE, device_key=PHONE_KEY), KEY)
SECRETS = SiteSecrets(totp={"wcc": (bytes(32),)})
ROTATING = totp_text("wcc", 4711, bytes(8), hotp(totp_secret(bytes(32), bytes(8), 4711), totp_step(NOW)))
HONEST_TEXTS = [
    sign_card(card_claims(), KEY).encode(),
    card_text(HONEST).encode(),
    card_text(LIVE_CARD).encode(),
    live_code(LIVE_CARD, NOW).encode(),
    ROTATING.encode(),
]


def agreed(data: bytes, now: int = NOW) -> VerifiedCard | Refused:
    """Both paths and the entry point, with and without memory, must say the same; give what they say.

    But for a chip's card, which is one only together with its chip.
    """
    lean = verify_cwt(data, KEYS, now)
    assert lean == verify_cwt_cbor2(data, KEYS, now)
    chip = isinstance(lean, VerifiedCard) and lean.claims.channel is Channel.CHIP
    expected = CHIP_WITHOUT_CHIP if chip else lean
    presentation = UnverifiedPresentation(data=b"RP1:" + b45_encode(data), media="qr")
    memory = VerifiedMemory()
    for _ in range(2):
        assert verify_presentation(presentation, KEYS, now, memory) == expected
    assert verify_presentation(presentation, KEYS, now) == expected
    assert verify_static(presentation.data, KEYS, now) == expected
    return lean


def judged(text: bytes) -> VerifiedCard | Refused:
    """The entry point with a memory that knows the honest cards, and without one, must say the same."""
    presentation = UnverifiedPresentation(data=text, media="qr")
    memory = VerifiedMemory()
    for honest in HONEST_TEXTS:
        known = UnverifiedPresentation(data=honest, media="qr")
        assert isinstance(verify_presentation(known, KEYS, NOW, memory, secrets=SECRETS), VerifiedCard)
    result = verify_presentation(presentation, KEYS, NOW, secrets=SECRETS)
    assert verify_presentation(presentation, KEYS, NOW, memory, secrets=SECRETS) == result
    for at_the_service, forms in (
        (verify_static(text, KEYS, NOW), (b"eyJ", b"RP1:")),
        (verify_at_till(text, KEYS, NOW), (b"eyJ", b"RP1:", b"RC1:")),
    ):
        if text.startswith(forms):
            assert at_the_service == result
        else:
            assert isinstance(at_the_service, Refused)
    return result


@st.composite
def honest_claims(draw):
    issued_at = draw(st.integers(0, INSTANT_MAX - 1))
    return CardClaims(
        issuer=WCC,
        card_id=CardId(draw(st.binary(min_size=8, max_size=8))),
        index=CardIndex(draw(st.integers(0, INDEX_LIMIT - 1))),
        issued_at=Instant(issued_at),
        expires_at=Instant(draw(st.integers(issued_at + 1, INSTANT_MAX))),
        issue_number=draw(st.integers(0, ISSUE_NUMBER_LIMIT - 1)),
        channel=draw(st.sampled_from(Channel)),
        device_key=draw(st.none() | st.just(PHONE_KEY)),
    )


@relaxed
@given(honest_claims())
def test_every_card_the_service_can_issue_is_read_back_the_same(claims):
    card = agreed(sign_card_cwt(claims, KEY), claims.issued_at)
    assert isinstance(card, VerifiedCard)
    assert (card.claims, card.form) == (claims, CardForm.CWT)


@relaxed
@given(st.binary(max_size=200))
@example(b"")
@example(b"\x84")
@example(b"\x84\x49" + PROTECTED)
@example(HONEST[:14])
def test_no_bytes_stop_the_reader(data):
    assert isinstance(agreed(data), Refused)


@relaxed
@given(st.binary(max_size=60), st.integers(0, len(HONEST)), st.integers(0, 30))
def test_no_edit_of_a_card_makes_another_card(inserted, place, cut):
    data = HONEST[:place] + inserted + HONEST[place + cut :]
    result = agreed(data)
    if data != HONEST:
        assert isinstance(result, Refused)


SCALARS = (
    st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=20)
    | st.booleans()
    | st.none()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.integers(-70000, 300) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@relaxed
@given(st.dictionaries(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -65537, 38, "x"]), VALUES, max_size=3))
def test_signed_claims_of_any_shape_are_judged_alike(changes):
    result = agreed(cwt(encode(members() | changes)))
    if isinstance(result, VerifiedCard):
        assert result.claims.issuer == "wcc"


@relaxed
@given(st.dictionaries(st.sampled_from([1, 2, 3, 4, 16, 33, -1, "x"]), VALUES, min_size=1, max_size=3))
def test_signed_headers_of_any_shape_are_judged_alike(changes):
    result = agreed(cwt(protected=encode(headers() | changes)))
    assert isinstance(result, VerifiedCard) == (encode(headers() | changes) == PROTECTED)


@relaxed
@given(st.binary(max_size=40), st.integers(0, len(PAYLOAD)), st.integers(0, 20))
def test_signed_bytes_of_any_kind_are_judged_alike(inserted, place, cut):
    """Edits below the signature: what only a faulty issuer could make, and what shows any gap between two parsers."""
    agreed(cwt(PAYLOAD[:place] + inserted + PAYLOAD[place + cut :]))


@st.composite
def edited_texts(draw):
    """A text that opens a gate, after some edits, perhaps under the prefix of another form."""
    data = bytearray(draw(st.sampled_from(HONEST_TEXTS)))
    if draw(st.integers(0, 4)) == 0:
        data[:4] = draw(st.sampled_from([b"RP1:", b"RC1:", b"RG1:", b"eyJh"]))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["replace", "cut", "insert", "truncate", "double"])):
            case "replace":
                data[place : place + 1] = draw(st.binary(min_size=1, max_size=1) | st.sampled_from([b"0", b":", b"."]))
            case "cut":
                del data[place : place + draw(st.integers(1, 6))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=4) | st.sampled_from([b"000", b"=", b"A"]))
            case "truncate":
                del data[place:]
            case "double":
                data += data[place:]
    return bytes(data)


@relaxed
@given(edited_texts())
def test_no_edit_of_a_code_opens_a_gate(text):
    result = judged(text)
    if isinstance(result, VerifiedCard):
        assert text in HONEST_TEXTS


@relaxed
@given(st.sampled_from([b"", b"RP1:", b"RC1:", b"RG1:", b"eyJ", b"RG1:wcc."]), st.binary(max_size=400))
def test_no_text_of_any_kind_stops_the_reader(prefix, text):
    assert isinstance(judged(prefix + text), Refused)


@relaxed
@given(st.binary(max_size=120), st.integers(0, 2**64 - 1))
def test_no_card_of_any_kind_in_a_live_code_stops_the_reader(inner, iat):
    assert isinstance(judged(live_code(inner, iat).encode()), Refused)


def test_megabytes_of_any_form_are_refused_without_being_read():
    """What is allocated and the time taken do not grow with the text: it is capped before anything is decoded."""
    for prefix in (b"eyJ", b"RP1:", b"RC1:", b"RG1:", b"RP1:%69", b""):
        for filler in (b"0", b".", b"A", b"\xff"):
            text = UnverifiedPresentation(data=prefix + filler * 4_000_000, media="qr")
            memory = VerifiedMemory()
            tracemalloc.start()
            try:
                assert isinstance(verify_presentation(text, KEYS, NOW, memory, secrets=SECRETS), Refused)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak < 65_536
            assert len(memory) == 0
