"""The linter over documents that nobody thought of."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings

from entitlements.compile import compile_service
from entitlements.errors import DocumentError
from entitlements.jsontext import read_json
from entitlements.lint import lint, with_lines
from tests.support.documents import KNOWN, Json, document, documents, pretty, world


@given(documents())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_the_linter_answers_for_every_valid_document_and_points_into_it(value: Json) -> None:
    text = pretty(value)
    service = document(value)
    found = with_lines(lint(service, world(), known_facts=KNOWN, year=2026, source=value), text)
    for finding in found:
        assert finding.line is not None
        assert finding.message
        assert finding.advice
        _resolves(finding.pointer, value)
    try:
        compile_service(service, world())
    except DocumentError:
        assert any(finding.code == "unknown_name" for finding in found)


def _resolves(pointer: str, value: Json) -> None:
    """Every step but the last is written; the last may be what is missing."""
    steps = pointer.split("/")[1:]
    inner = read_json(pretty(value))
    for step in steps[:-1]:
        inner = inner[int(step)] if isinstance(inner, list) else inner[step]
