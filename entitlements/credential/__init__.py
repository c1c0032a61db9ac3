"""Cards that cannot be forged: claims, keys, forms (JWT, CWT, live, rotating), and the proofs machines give each other.

Pure: no I/O, no clock (time is an argument), no logging. Begin at
:func:`~entitlements.credential.presentation.verify_presentation` (gate),
:func:`~entitlements.credential.presentation.verify_at_till`,
:func:`~entitlements.credential.jwt.sign_card` and :func:`~entitlements.credential.cwt.sign_card_cwt` (service).
"""

from entitlements.credential.assertion import (
    AssertionClaims,
    AssertionCode,
    sign_assertion,
    unverified_reader_id,
    verify_assertion,
)
from entitlements.credential.claims import (
    CLOCK_LEEWAY,
    CardClaims,
    CardForm,
    Channel,
    Refused,
    UnverifiedPresentation,
    VerifiedCard,
)
from entitlements.credential.cwt import card_text, sign_card_cwt, verify_cwt
from entitlements.credential.cwt_cbor2 import verify_cwt_cbor2
from entitlements.credential.errors import (
    AssertionRefused,
    CredentialError,
    InvalidClaimsError,
    InvalidEncodingError,
    InvalidKeyError,
    TokenError,
)
from entitlements.credential.es256 import (
    generate_private_key,
    private_key_from_pem,
    private_key_to_pem,
    public_key_from_jwk,
    public_key_to_jwk,
    thumbprint,
)
from entitlements.credential.jws import sign_compact, verify_compact
from entitlements.credential.jwt import sign_card, verify_card, verify_card_pyjwt
from entitlements.credential.keys import KeySet, SigningKey, VerificationKey, make_kid
from entitlements.credential.live import live_message, live_text
from entitlements.credential.presentation import (
    VerifiedMemory,
    verify_at_till,
    verify_presentation,
    verify_static,
)
from entitlements.credential.sitesecrets import NO_SECRETS, SiteSecrets
from entitlements.credential.totp import totp_secret, totp_text

__all__ = [
    "CLOCK_LEEWAY",
    "NO_SECRETS",
    "AssertionClaims",
    "AssertionCode",
    "AssertionRefused",
    "CardClaims",
    "CardForm",
    "Channel",
    "CredentialError",
    "InvalidClaimsError",
    "InvalidEncodingError",
    "InvalidKeyError",
    "KeySet",
    "Refused",
    "SigningKey",
    "SiteSecrets",
    "TokenError",
    "UnverifiedPresentation",
    "VerificationKey",
    "VerifiedCard",
    "VerifiedMemory",
    "card_text",
    "generate_private_key",
    "live_message",
    "live_text",
    "make_kid",
    "private_key_from_pem",
    "private_key_to_pem",
    "public_key_from_jwk",
    "public_key_to_jwk",
    "sign_assertion",
    "sign_card",
    "sign_card_cwt",
    "sign_compact",
    "thumbprint",
    "totp_secret",
    "totp_text",
    "unverified_reader_id",
    "verify_assertion",
    "verify_at_till",
    "verify_card",
    "verify_card_pyjwt",
    "verify_compact",
    "verify_cwt",
    "verify_cwt_cbor2",
    "verify_presentation",
    "verify_static",
]
