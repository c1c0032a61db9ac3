"""Service documents from text or from JSON values: base and patch merged, shape checked, then built.

``extends`` names a base by id; what the document adds or changes is a JSON Merge Patch (RFC 7396), either under
``patch`` or beside ``extends`` itself. The merged result is validated whole, so a patch cannot make what a
document could not say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from entitlements.builders import Faults, build
from entitlements.errors import DocumentError, Problem
from entitlements.jsonfaults import shortened
from entitlements.jsontext import TextError, line_of, lines, read_json
from entitlements.service import ServiceDocument
from entitlements.shapes import check, pointer_step, schema

MAX_EXTENDS = 8
"""Documents in one chain of ``extends``; a longer chain can no longer be understood by whoever approves it."""


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2: ``null`` removes, objects merge, anything else replaces. Neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def load_services(text: str, *, bases: Mapping[str, Any] | None = None) -> list[ServiceDocument]:
    """Read one service document, or a list of them, from JSON text.

    Args:
        text: the JSON text.
        bases: documents (JSON values, by id) outside this text that ``extends`` may name.

    Raises:
        DocumentError: with every problem, its pointer, its line and what to do.
    """
    try:
        value = read_json(text)
    except TextError as error:
        raise DocumentError([error.problem]) from None
    try:
        return parse_services(value, bases=bases)
    except DocumentError as error:
        positions = lines(text)
        raise DocumentError(
            [msgspec.structs.replace(problem, line=line_of(problem.pointer, positions)) for problem in error.problems],
            name=error.name,
        ) from None


def parse_services(value: Any, *, bases: Mapping[str, Any] | None = None) -> list[ServiceDocument]:
    """The same from an already decoded JSON value: one document or a list.

    Raises:
        DocumentError: problems carry pointers into ``value``, and no lines.
    """
    many = isinstance(value, list)
    documents: Sequence[Any] = value if many else [value]
    known = dict(bases or {})
    problems: list[Problem] = []
    roots = ["" if not many else pointer_step(index) for index in range(len(documents))]
    ids: list[str | None] = []
    for root, document in zip(roots, documents, strict=True):
        name = document.get("id") if isinstance(document, dict) else None
        if isinstance(name, str) and name in ids:
            problems.append(
                _problem(f"{root}/id", f"the id {shortened(name)} stands twice", "Give each service its own id.")
            )
        ids.append(name if isinstance(name, str) else None)
        if isinstance(name, str):
            known[name] = document
    built: list[ServiceDocument] = []
    for root, document in zip(roots, documents, strict=True):
        found: list[Problem] = []
        whole = _extended(document, known, found, ())
        if not found:
            found = check(whole, schema("service-1"))
        if not found:
            faults = Faults()
            made = build(whole, faults)
            found = faults.problems
            if not found:
                built.append(made)
        problems += [_placed(problem, root, document) for problem in found]
    if problems:
        raise DocumentError(problems)
    return built


def standalone(document: Mapping[str, Any], *, bases: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON of a document with its base merged in, as it is published: it stands alone.

    Args:
        document: one document that :func:`parse_services` takes.
        bases: as given there.

    Raises:
        DocumentError: a base is missing, or extends itself.
    """
    known = {**(bases or {}), str(document.get("id")): document}
    problems: list[Problem] = []
    whole = _extended(document, known, problems, ())
    if problems:
        raise DocumentError(problems)
    return dict(whole)


def _problem(pointer: str, message: str, advice: str) -> Problem:
    return Problem(pointer=pointer, message=message, advice=advice)


def _placed(problem: Problem, root: str, document: Any) -> Problem:
    """A problem of the merged result, pointed at where the author can mend it: in the patch, if it is written there."""
    pointer = problem.pointer
    if isinstance(document, dict) and "patch" in document and _holds(document["patch"], pointer):
        pointer = "/patch" + pointer
    return msgspec.structs.replace(problem, pointer=root + pointer)


def _holds(value: Any, pointer: str) -> bool:
    first = pointer.split("/")[1].replace("~1", "/").replace("~0", "~") if pointer else ""
    return isinstance(value, dict) and first in value


def _extended(document: Any, known: Mapping[str, Any], problems: list[Problem], chain: tuple[str, ...]) -> Any:
    """The document with its base merged in; itself where it extends nothing."""
    if not isinstance(document, dict) or "extends" not in document:
        return document
    base = document["extends"]
    patch = document.get("patch", {})
    if not isinstance(base, str) or base not in known:
        advice = f"Name one of: {', '.join(sorted(known)) or 'no document is known'}."
        problems.append(_problem("/extends", f"there is no service {shortened(repr(base))} to extend", advice))
        return document
    if not isinstance(patch, dict):
        problems.append(_problem("/patch", "a merge patch is an object", "Write what differs as an object."))
        return document
    if "id" not in document:
        problems.append(_problem("", 'the key "id" is missing', "Give the new service its own id."))
        return document
    own = str(document["id"])
    if base == own or base in chain or len(chain) >= MAX_EXTENDS:
        advice = "Extend a document that does not lead back here."
        problems.append(_problem("/extends", f"{own} extends itself through {base}, or too many others", advice))
        return document
    whole = _extended(known[base], known, problems, (*chain, own))
    beside = {key: value for key, value in document.items() if key not in ("extends", "patch")}
    return merge_patch(merge_patch(whole, beside), {key: value for key, value in patch.items() if key != "id"})
