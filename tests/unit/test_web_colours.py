"""Colours of the pages: whether everybody can read them, in both schemes and in every council's own colour."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cardservice.web.pages import FOLDER, brand_sheet, contrast

TEXT = 4.5
"""WCAG 2.2, 1.4.3: text."""
SHAPE = 3.0
"""WCAG 2.2, 1.4.11: what carries meaning without being text."""
STATES = ("go", "stop", "ask", "note", "fire")


def schemes() -> dict[str, dict[str, str]]:
    css = (FOLDER / "static" / "gates.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in (light, dark)]
    return {"light": found[0], "dark": found[0] | found[1]}


@pytest.mark.parametrize("name", ["light", "dark"])
def test_words_and_lamps_stand_out_from_what_they_stand_on(name: str) -> None:
    colours = schemes()[name]
    pairs = [(ink, ground, TEXT) for ink in ("ink", "soft") for ground in ("paper", "card", "idle-wash")]
    pairs += [(soft, f"{state}-wash", TEXT) for soft in ("ink", "soft") for state in STATES]
    pairs += [(state, ground, TEXT) for state in STATES for ground in ("card", f"{state}-wash")]
    pairs += [("idle", "idle-wash", TEXT), ("strong-line", "card", SHAPE), ("on-brand", "brand", TEXT)]
    pairs += [("focus-ink", "focus", TEXT)]
    short = {(one, other): contrast(colours[one], colours[other]) for one, other, _ in pairs}
    assert not {pair for pair, least in (((a, b), least) for a, b, least in pairs) if short[pair] < least}


@given(st.integers(0, 0xFFFFFF))
def test_a_councils_name_is_readable_on_its_own_colour(number: int) -> None:
    sheet = brand_sheet([{"tenant": "wcc", "brand": {"colour": f"#{number:06x}"}}])
    colour, ink = re.findall(r"#[0-9a-f]{6}", sheet)
    assert colour == f"#{number:06x}"
    assert contrast(colour, ink) >= TEXT


@given(st.one_of(st.none(), st.text(), st.integers(), st.just("#fff"), st.just("red;}*{}")))
def test_a_brand_that_is_no_colour_changes_nothing(value: object) -> None:
    assert brand_sheet([{"tenant": "wcc", "brand": {"colour": value}}]) == brand_sheet([{"tenant": "wcc", "brand": {}}])


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
