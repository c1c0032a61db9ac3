"""Faults of the credential package.

A card that is not accepted is no fault: it is a :class:`~entitlements.credential.claims.Refused` value. What is
raised here is a caller's mistake (claims that cannot be a card, keys that are no keys) or a machine's token that is
not in order (reader assertions, signed documents), each with a code for the answer.

::

    CredentialError (ValueError)
    ├── InvalidEncodingError   text that is not canonical base64url, or not strict JSON
    ├── InvalidClaimsError     claims that no card may carry
    ├── InvalidKeyError        a JWK, JWKS or PEM that is refused
    ├── AddressTooLongError    a link that does not fit into a chip
    └── TokenError             a machine's token is refused, with a code
        └── AssertionRefused   a reader's request assertion is refused
"""

from __future__ import annotations


class CredentialError(ValueError):
    """Something about a credential is not in order."""


class InvalidEncodingError(CredentialError):
    """The bytes are not in the one canonical form that is accepted."""


class InvalidClaimsError(CredentialError):
    """The claims are not those of a card.

    :ivar claim: field of :class:`~entitlements.credential.claims.CardClaims` that is wrong.
    """

    def __init__(self, claim: str, problem: str) -> None:
        super().__init__(f"card claim {claim}: {problem}")
        self.claim = claim
        self.problem = problem


class InvalidKeyError(CredentialError):
    """The key or key set is refused as a whole.

    :ivar kid: the key's id where it is known.
    """

    def __init__(self, problem: str, kid: str | None = None) -> None:
        super().__init__(f"key {kid}: {problem}" if kid is not None else f"key: {problem}")
        self.kid = kid
        self.problem = problem


class AddressTooLongError(CredentialError):
    """With this address in front the card does not fit into the chip's file.

    :ivar excess: characters too many.
    """

    def __init__(self, excess: int) -> None:
        super().__init__(f"the address is {excess} characters too long for a chip")
        self.excess = excess


class TokenError(CredentialError):
    """A signed token between machines is not accepted.

    :ivar code: stable word for the answer and the log, e.g. ``document_bad_signature``.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class AssertionRefused(TokenError):
    """A reader's request assertion is not accepted.

    :ivar code: one of :class:`~entitlements.credential.assertion.AssertionCode`.
    :ivar clock_offset: seconds by which the reader's clock is ahead of ours (negative: behind), where ``code`` is
        ``assertion_time``; otherwise ``None``. It is told only after the signature was found good.
    """

    def __init__(self, code: str, detail: str, clock_offset: int | None = None) -> None:
        super().__init__(code, detail)
        self.clock_offset = clock_offset
