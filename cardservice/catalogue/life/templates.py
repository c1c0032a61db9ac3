"""Templates: a service to begin with, and plain questions whose answers are written into its document.

A template is a file ``cardservice/catalogue/templates/<name>.json``::

    {"title": ..., "summary": ..., "document": {...},
     "questions": [{"id": ..., "ask": ..., "kind": ..., "at": [JSON pointers], "default": ...}]}

``{tenant}`` in the document stands for the council. A question of kind ``list`` is answered by a list of ids,
``number`` by a whole number, ``pence`` by pence, ``text`` by a text.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import msgspec

from cardservice.errors import ApiProblem, not_found
from entitlements.jsontext import read_json

TENANT: Final = "{tenant}"
INDENT: Final = 2
"""Spaces a level, as people write JSON by hand."""


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that the template leaves to the council."""

    id: str
    ask: str
    kind: Literal["text", "number", "pence", "list"]
    at: tuple[str, ...]
    default: Any


class TemplateFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    title: str
    summary: str
    questions: tuple[Question, ...]
    document: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template by its name."""

    name: str
    file: TemplateFile

    def fill(self, tenant: str, answers: Mapping[str, Any], *, service_id: str | None = None) -> dict[str, Any]:
        """A whole document.

        Args:
            tenant: the council.
            answers: by question; questions without an answer take their default.
            service_id: another id than the template's.

        Raises:
            ApiProblem: 422 for an answer to no question, or of the wrong kind.
        """
        questions = {question.id: question for question in self.file.questions}
        wrong = [_wrong(name, "the template does not ask this") for name in answers if name not in questions]
        document: dict[str, Any] = _for(tenant, copy.deepcopy(self.file.document))
        for question in self.file.questions:
            answer = answers.get(question.id, _for(tenant, question.default))
            if not _fits(question, answer):
                wrong.append(_wrong(question.id, f"{question.ask} The answer is {_WANTED[question.kind]}"))
                continue
            for pointer in question.at:
                _put(document, pointer, answer)
        if wrong:
            raise ApiProblem(
                422, "wrong_answers", f"The template cannot be filled in: {wrong[0]['problem']}.", fields=wrong
            )
        if service_id is not None:
            document["id"] = service_id
        return document


_WANTED: Final = {
    "text": "a text",
    "number": "a whole number, 0 or more",
    "pence": "a whole number of pence, 0 or more",
    "list": "a list of names, at least one",
}


@cache
def templates() -> Mapping[str, Template]:
    """All templates by name."""
    folder = files("cardservice.catalogue") / "templates"
    found = {}
    for file in sorted(folder.iterdir(), key=lambda each: each.name):
        if file.name.endswith(".json"):
            name = file.name.removesuffix(".json")
            content = msgspec.convert(read_json(file.read_text(encoding="utf-8")), TemplateFile)
            found[name] = Template(name=name, file=content)
    return found


def template(name: str) -> Template:
    """One template, or 404."""
    known = templates().get(name)
    if known is None:
        raise not_found("template", name[:80])
    return known


def as_text(document: Mapping[str, Any]) -> str:
    """A document as people read it: one member a line, so that findings have lines to point at."""
    return json.dumps(document, indent=INDENT, ensure_ascii=False) + "\n"


def _fits(question: Question, answer: Any) -> bool:
    if question.kind == "text":
        return isinstance(answer, str) and bool(answer.strip())
    if question.kind == "list":
        return isinstance(answer, list) and bool(answer) and all(isinstance(item, str) and item for item in answer)
    return isinstance(answer, int) and not isinstance(answer, bool) and answer >= 0


def _put(document: dict[str, Any], pointer: str, value: Any) -> None:
    *steps, last = pointer.split("/")[1:]
    place: Any = document
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value


def _for(tenant: str, value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(TENANT, tenant)
    if isinstance(value, dict):
        return {name: _for(tenant, member) for name, member in value.items()}
    if isinstance(value, list):
        return [_for(tenant, member) for member in value]
    return value


def _wrong(question: str, problem: str) -> dict[str, str]:
    return {"at": f"/answers/{question}", "problem": problem}
