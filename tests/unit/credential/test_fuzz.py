"""If these fail, some bytes held to a reader stop it, or the gate and the service judge one card differently."""

import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from entitlements.credential import (
    CardClaims,
    Channel,
    KeySet,
    Refused,
    UnverifiedPresentation,
    VerifiedCard,
    VerifiedMemory,
    generate_private_key,
    sign_card,
    verify_card,
    verify_card_pyjwt,
    verify_presentation,
    verify_static,
)
from entitlements.credential.claims import INDEX_LIMIT, INSTANT_MAX, ISSUE_NUMBER_LIMIT
from entitlements.credential.encoding import b64url_encode
from entitlements.credential.es256 import compress
from entitlements.credential.presentation import CHIP_WITHOUT_CHIP
from entitlements.model import CardId, CardIndex, Instant, TenantId
from tests.support.cards import KEY, KEYS, NOW, as_bytes, card_claims, header, sign_texts, token, wire

# A signature costs some 0.2 ms in each path; the slow first example of a run must not count as a hang.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

HONEST = sign_card(card_claims(), KEY).encode()
DEVICE_KEY = compress(generate_private_key().public_key())


def agreed(data: bytes, keys: KeySet = KEYS, now: int = NOW) -> VerifiedCard | Refused:
    """Both paths and the entry points, with and without memory, must say the same; give what they say.

    But for a chip's card, which is one only together with its chip.
    """
    lean = verify_card(data, keys, now)
    assert lean == verify_card_pyjwt(data, keys, now)
    chip = isinstance(lean, VerifiedCard) and lean.claims.channel is Channel.CHIP
    expected = CHIP_WITHOUT_CHIP if chip else lean
    if data.startswith(b"eyJ"):
        presentation = UnverifiedPresentation(data=data, media="qr")
        memory = VerifiedMemory()
        for _ in range(2):
            assert verify_presentation(presentation, keys, now, memory) == expected
        assert verify_presentation(presentation, keys, now) == expected
        assert verify_static(data, keys, now) == expected
    return lean


@st.composite
def honest_claims(draw):
    issued_at = draw(st.integers(0, INSTANT_MAX - 1))
    device_key = draw(st.none() | st.just(DEVICE_KEY))
    return CardClaims(
        issuer=TenantId("wcc"),
        card_id=CardId(draw(st.binary(min_size=8, max_size=8))),
        index=CardIndex(draw(st.integers(0, INDEX_LIMIT - 1))),
        status_uri=draw(st.from_regex(r"https?://[a-z]{1,10}\.example/[a-z0-9/?&=~%'<>-]{0,40}", fullmatch=True)),
        issued_at=Instant(issued_at),
        expires_at=Instant(draw(st.integers(issued_at + 1, INSTANT_MAX))),
        issue_number=draw(st.integers(0, ISSUE_NUMBER_LIMIT - 1)),
        channel=draw(st.sampled_from(Channel)),
        device_key=device_key,
    )


@relaxed
@given(honest_claims())
def test_every_card_the_service_can_issue_is_read_back_the_same(claims):
    card = agreed(sign_card(claims, KEY).encode(), now=claims.issued_at)
    assert isinstance(card, VerifiedCard)
    assert card.claims == claims


@relaxed
@given(st.binary(max_size=600))
@example(b"")
@example(b"..")
@example(b"eyJ..")
@example(b"\x00" * 1025)
def test_no_bytes_stop_the_reader(data):
    assert isinstance(agreed(data), Refused)


@relaxed
@given(st.lists(st.binary(max_size=120).map(b64url_encode), min_size=2, max_size=4).map(b".".join))
def test_no_well_formed_token_of_a_stranger_stops_the_reader(data):
    assert isinstance(agreed(b"eyJ" + data), Refused)


@st.composite
def mutations(draw):
    """An honest token after some edits: bytes replaced, taken out, put in, parts swapped."""
    data = bytearray(HONEST)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data) - 1))
        match draw(st.sampled_from(["replace", "cut", "insert", "truncate", "double"])):
            case "replace":
                data[place] = draw(st.integers(0, 255) | st.sampled_from(b"AQgw-_=.+/"))
            case "cut":
                del data[place : place + draw(st.integers(1, 5))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=4) | st.sampled_from([b".", b"=", b"A"]))
            case "truncate":
                del data[place:]
            case "double":
                data += data[place:]
        if not data:
            break
    return bytes(data)


@relaxed
@given(mutations())
def test_a_tampered_card_is_refused_alike_everywhere(data):
    if data == HONEST:
        return
    assert isinstance(agreed(data), Refused)


JSON_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([NOW, NOW + 1, 0, -1, 2**32, 2**63])
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["wcc", "rbkc", "static", "live", "AQIDBAUGBwg", "https://a.example", "ES256", "rescard+jwt"])
)
JSON = st.recursive(
    JSON_LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@relaxed
@given(
    st.dictionaries(
        st.sampled_from(["iss", "jti", "iat", "exp", "fn", "ch", "status", "cnf", "sub", "nbf", "aud", "x", "crit"]),
        JSON,
        max_size=3,
    )
)
def test_signed_claims_of_any_shape_are_judged_alike(changes):
    payload = json.dumps({**wire(), **changes}).encode()
    result = agreed(token(header(), payload))
    if isinstance(result, VerifiedCard):
        assert result.claims.issuer == "wcc"


@relaxed
@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jwk", "crit", "b64", "x"]), JSON, min_size=1, max_size=3))
def test_signed_headers_of_any_shape_are_judged_alike(changes):
    head = {**header(), **changes}
    result = agreed(token(json.dumps(head).encode(), wire()))
    assert isinstance(result, VerifiedCard) == (head == header())


@relaxed
@given(st.binary(max_size=80), st.integers(0, len(as_bytes(wire()))), st.integers(0, 20))
def test_signed_bytes_of_any_kind_are_judged_alike(inserted, place, cut):
    """Edits below the signature: what only a faulty issuer could make, and what shows any gap between two parsers."""
    payload = as_bytes(wire())
    agreed(token(header(), payload[:place] + inserted + payload[place + cut :]))


@relaxed
@given(st.binary(max_size=20), st.integers(0, 60), st.booleans())
def test_signed_texts_of_any_kind_are_judged_alike(inserted, place, in_header):
    head, payload = HONEST.split(b".")[:2]
    if in_header:
        head = head[:place] + inserted + head[place:]
    else:
        payload = payload[:place] + inserted + payload[place:]
    agreed(sign_texts(head, payload))
