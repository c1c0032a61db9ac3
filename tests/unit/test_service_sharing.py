"""A shared document names its owner's lists next door, and means the same in every other word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cardservice.catalogue.served import SERVED_KINDS, refuse_unserved
from cardservice.catalogue.sharing import qualified_document
from entitlements.documents import parse_services
from entitlements.service import rule_kinds

VECTORS = Path(__file__).parent.parent / "vectors" / "decisions" / "services.json"
DOCUMENTS: list[dict[str, Any]] = json.loads(VECTORS.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: str(each["id"]))
def test_a_document_next_door_is_the_same_but_for_its_lists(document: dict[str, Any]) -> None:
    shown = qualified_document(document, "wcc")
    parse_services(shown)  # still a document
    without_owner = json.loads(json.dumps(shown).replace("@wcc:", "@"))
    given_holidays = "holidays" in document.get("when", {})
    if not given_holidays:
        without_owner.get("when", {}).pop("holidays", None)
    assert without_owner == document
    assert json.dumps(shown).count('"@') == json.dumps(shown).count('"@wcc:')


def test_holidays_that_a_document_only_implies_are_its_owners() -> None:
    offpeak = next(each for each in DOCUMENTS if each["id"] == "wcc.leisure.gym-offpeak")
    assert qualified_document(offpeak, "wcc")["when"]["holidays"] == "@wcc:uk-bank-holidays"
    assert "holidays" not in offpeak["when"], "the document itself is left alone"
    always = {"when": {"windows": [{"from": "09:00", "until": "17:00"}]}}
    assert qualified_document(always, "wcc") == always


def test_a_title_that_begins_with_an_at_sign_is_left_alone() -> None:
    assert qualified_document({"title": "@home", "when": {"closed": "@x"}}, "wcc") == {
        "title": "@home",
        "when": {"closed": "@wcc:x"},
    }


def test_every_worked_service_can_be_published() -> None:
    for document in parse_services(DOCUMENTS):
        assert rule_kinds(document) <= SERVED_KINDS, document.id
        refuse_unserved(document)
