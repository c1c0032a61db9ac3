"""Checking a JSON value against a JSON Schema, with every problem named for a person.

Covers the keywords of JSON Schema 2020-12 that our own schemas use, with ``format`` asserted. The
gate needs no schema library for that, and the messages can say what to do; a test holds it against an independent
validator.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from entitlements.durations import parse_date, parse_instant
from entitlements.errors import Problem
from entitlements.jsonfaults import shortened

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}
_IN_WORDS = {
    "object": "an object",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}
_FORMATS: dict[str, Callable[[str], object]] = {"date": parse_date, "date-time": parse_instant}

SchemaNode = Mapping[str, Any]


@lru_cache(maxsize=8)
def schema(name: str) -> SchemaNode:
    """A schema shipped in ``entitlements/schema``, by file name without ``.schema.json``."""
    text = files("entitlements").joinpath("schema", f"{name}.schema.json").read_text("utf-8")
    loaded: SchemaNode = json.loads(text)
    return loaded


def pointer_step(key: str | int) -> str:
    """One step of a JSON pointer (RFC 6901, section 3)."""
    return "/" + str(key).replace("~", "~0").replace("/", "~1")


def check(value: Any, root: SchemaNode) -> list[Problem]:
    """Every problem of ``value`` against the schema ``root``, in document order, without line numbers."""
    problems: list[Problem] = []
    _Check(root, problems).visit(value, root, "")
    return problems


class _Check:
    def __init__(self, root: SchemaNode, problems: list[Problem]) -> None:
        self._root = root
        self._problems = problems

    def _report(self, pointer: str, message: str, advice: str) -> None:
        self._problems.append(Problem(pointer=pointer, message=message, advice=advice))

    def visit(self, value: Any, node: SchemaNode, pointer: str) -> None:
        while "$ref" in node:
            target = self._root["$defs"][node["$ref"].rsplit("/", 1)[1]]
            node = {**target, **{key: rest for key, rest in node.items() if key != "$ref"}}
        if "oneOf" in node:
            self._one_of(value, node, pointer)
            return
        if not self._scalar(value, node, pointer):
            return
        if isinstance(value, dict):
            self._object(value, node, pointer)
        elif isinstance(value, list):
            self._array(value, node, pointer)

    def _scalar(self, value: Any, node: SchemaNode, pointer: str) -> bool:
        """Checks that need no look inside; false where looking inside makes no sense."""
        hint = node.get("description", "")
        if "const" in node and (value != node["const"] or type(value) is not type(node["const"])):
            self._report(
                pointer, f"{_show(value)} is not {_show(node['const'])}", hint or f"Write {_show(node['const'])}."
            )
            return False
        if "enum" in node and not any(value == one and type(value) is type(one) for one in node["enum"]):
            words = ", ".join(_show(one) for one in node["enum"])
            self._report(pointer, f"{_show(value)} is not a word known here", f"Use one of {words}.")
            return False
        kinds = node.get("type")
        if kinds is not None:
            kinds = [kinds] if isinstance(kinds, str) else kinds
            if not any(_TYPES[kind](value) for kind in kinds):
                wanted = " or ".join(_IN_WORDS[kind] for kind in kinds)
                self._report(pointer, f"{_show(value)} is not {wanted}", hint or f"Write {wanted}.")
                return False
        if isinstance(value, str):
            return self._string(value, node, pointer, hint)
        if isinstance(value, int) and not isinstance(value, bool):
            low, high = node.get("minimum"), node.get("maximum")
            if (low is not None and value < low) or (high is not None and value > high):
                self._report(pointer, f"{_show(value)} is out of range", f"Write a whole number from {low} to {high}.")
        return True

    def _string(self, value: str, node: SchemaNode, pointer: str, hint: str) -> bool:
        if "pattern" in node and not re.search(node["pattern"].replace("$", r"\Z"), value):
            self._report(pointer, f"{_show(value)} is not written as it must be", hint or f"Match {node['pattern']}.")
            return False
        if not node.get("minLength", 0) <= len(value) <= node.get("maxLength", len(value)):
            self._report(
                pointer, "the text is empty or too long", f"Keep it from 1 to {node.get('maxLength')} characters."
            )
            return False
        if "format" in node:
            try:
                _FORMATS[node["format"]](value)
            except ValueError as error:
                self._report(pointer, f"{_show(value)}: {error}", hint)
                return False
        return True

    def _object(self, value: dict[str, Any], node: SchemaNode, pointer: str) -> None:
        known: Mapping[str, SchemaNode] = node.get("properties", {})
        rest = node.get("additionalProperties", True)
        for key in node.get("required", ()):
            if key not in value:
                self._report(pointer, f"the key {_show(key)} is missing", f"Add {_show(key)}.")
        if len(value) < node.get("minProperties", 0):
            self._report(pointer, "it is empty", node.get("description", "") or "Add at least one entry.")
        for key, item in value.items():
            here = pointer + pointer_step(key)
            if "propertyNames" in node:
                self.visit(key, node["propertyNames"], here)
            if key in known:
                self.visit(item, known[key], here)
            elif rest is False:
                self._report(here, f"the key {_show(key)} is not known here", _suggest(key, known))
            elif isinstance(rest, Mapping):
                self.visit(item, rest, here)

    def _array(self, value: list[Any], node: SchemaNode, pointer: str) -> None:
        if not node.get("minItems", 0) <= len(value) <= node.get("maxItems", len(value)):
            told = f"the list has {len(value)} entries" if value else "the list is empty"
            self._report(pointer, told, f"Give 1 to {node.get('maxItems')} entries.")
        if node.get("uniqueItems"):
            seen = [json.dumps(item, sort_keys=True) for item in value]
            for index, text in enumerate(seen):
                if text in seen[:index]:
                    self._report(
                        pointer + pointer_step(index), f"{shortened(text)} is there twice", "Remove one of them."
                    )
        items = node.get("items")
        if items is not None:
            for index, item in enumerate(value):
                self.visit(item, items, pointer + pointer_step(index))

    def _one_of(self, value: Any, node: SchemaNode, pointer: str) -> None:
        """Reports the nearest branch only: a list of why each of five branches failed helps nobody."""
        attempts: list[tuple[tuple[int, int], list[Problem]]] = []
        for branch in node["oneOf"]:
            found: list[Problem] = []
            _Check(self._root, found).visit(value, branch, pointer)
            if not found:
                return
            attempts.append((self._distance(value, branch, found, pointer), found))
        (foreign, _), nearest = min(attempts, key=lambda attempt: attempt[0])
        hint = node.get("description")
        if isinstance(value, dict) and foreign:
            words = ", ".join(key for branch in node["oneOf"] for key in self._resolve(branch).get("required", ()))
            self._report(pointer, f"{_show(value)} is of no kind known here", hint or f"Give one of: {words}.")
        elif hint and all(problem.pointer == pointer for problem in nearest):
            self._report(pointer, nearest[0].message, hint)
        else:
            self._problems.extend(nearest)

    def _resolve(self, node: SchemaNode) -> SchemaNode:
        resolved: SchemaNode = self._root["$defs"][node["$ref"].rsplit("/", 1)[1]] if "$ref" in node else node
        return resolved

    def _distance(self, value: Any, branch: SchemaNode, found: list[Problem], pointer: str) -> tuple[int, int]:
        """First whether the branch is for another kind of value altogether, then how much is wrong within it."""
        branch = self._resolve(branch)
        required = branch.get("required", [])
        if isinstance(value, dict) and required:
            return (0 if required[0] in value else 1, len(found))
        if branch.get("type") in _TYPES and not _TYPES[branch["type"]](value):
            return (2, len(found))  # an empty list is nearer to a list of names than to a name
        return (1 if any(problem.pointer == pointer for problem in found) else 0, len(found))


def _show(value: Any) -> str:
    return shortened(json.dumps(value, ensure_ascii=False))


def _suggest(key: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"Did you mean {_show(near[0])}?"
    return f"Remove it; known here: {', '.join(sorted(known))}."
