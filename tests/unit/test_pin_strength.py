"""PINs that a finder of the card would try first are refused; others are not."""

from __future__ import annotations

from datetime import date

import pytest
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given
from hypothesis import strategies as st

from cardservice.pins.models import PinDraft
from cardservice.pins.strength import problem_of
from cardservice.pins.verifiers import Verifiers, derive
from entitlements.wire.secrets import check_verifier

BORN = date(1974, 3, 9)


@pytest.mark.parametrize(
    "pin",
    [
        *("0000", "99999999", "1212", "123123", "45674567", "777777"),
        *("1234", "4321", "0123", "9876", "7890", "89012", "12345678", "3210987"),
        *("0903", "0309", "1974", "0374", "7403", "090374", "740309", "031974", "09031974", "19740309", "03091974"),
    ],
)
def test_a_finder_does_not_get_in_by_the_first_guesses(pin: str) -> None:
    problem = problem_of(pin, BORN)
    assert problem is not None
    assert pin not in problem, "the answer may be read by somebody who looks over the shoulder"


@pytest.mark.parametrize(
    "pin", ["", "123", "123456789", "12 4", "12a4", "٤٧١١", "４７１１", "4711\n", "-471", "4711.0"]
)
def test_a_pin_that_no_keypad_can_type_is_refused(pin: str) -> None:
    assert problem_of(pin, None) == "a PIN is 4 to 8 digits"


@pytest.mark.parametrize("pin", ["4711", "2580", "13579", "847301", "90213364", "1123", "1221"])
def test_a_pin_with_nothing_against_it_is_taken(pin: str) -> None:
    assert problem_of(pin, BORN) is None
    assert problem_of(pin, None) is None


@given(st.integers(0, 99_999_999), st.integers(4, 8), st.dates(date(1880, 1, 1), date(2026, 1, 1)))
def test_most_pins_are_left_to_choose_from(number: int, digits: int, born: date) -> None:
    pin = f"{number:0{digits}d}"[-digits:]
    problem = problem_of(pin, born)
    turned = pin[1:] + pin[:1]
    if problem is None:
        assert pin != turned
        assert pin != born.strftime("%d%m%Y")[:digits] or digits not in (4, 8)
    else:
        assert pin not in problem


def test_a_verifier_proves_the_pin_and_no_other_and_gives_nothing_away() -> None:
    verifier = derive("847301")
    check_verifier(verifier)
    Argon2id.verify_phc_encoded(b"847301", verifier)
    with pytest.raises(InvalidKey):
        Argon2id.verify_phc_encoded(b"847302", verifier)
    assert derive("847301") != verifier, "equal PINs must not be seen to be equal"


async def test_verifiers_are_made_aside() -> None:
    verifiers = Verifiers()
    try:
        Argon2id.verify_phc_encoded(b"4711", await verifiers.make("4711"))
    finally:
        verifiers.close()


def test_a_pin_in_a_request_does_not_show_in_a_log() -> None:
    draft = PinDraft.model_validate_json('{"pin": "847301"}', strict=True)
    assert draft.pin.get_secret_value() == "847301"
    assert "847301" not in repr(draft) + str(draft) + draft.model_dump_json()
