"""Reading service documents: the one boundary to ``entitlements.documents``, and their digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cardservice.errors import ApiProblem
from entitlements.documents import parse_services
from entitlements.errors import DocumentError, Problem
from entitlements.service import ServiceDocument

AT: Final = "/document"
"""Where the document stands in the body of a request."""


def read_document(document: Mapping[str, Any]) -> ServiceDocument:
    """A whole document.

    Raises:
        DocumentError: with every problem found.
    """
    return parse_services(document)[0]


def digest(document: Mapping[str, Any]) -> bytes:
    """SHA-256 of the document's JSON in one form, so that spacing and order make no new version."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()


def refused(error: DocumentError, code: str = "document_refused") -> ApiProblem:
    """422 with a JSON pointer, the problem and what to do for each problem of a document."""
    return refused_for(error.problems, code)


def refused_for(problems: Iterable[Problem], code: str) -> ApiProblem:
    """422 for these problems of a document."""
    listed = [
        {"at": f"{AT}{problem.pointer}", "problem": f"{problem.message}. {problem.advice}".rstrip()}
        for problem in problems
    ]
    more = f" and {len(listed) - 1} more" if len(listed) > 1 else ""
    return ApiProblem(
        422,
        code,
        f"The document cannot be published: {listed[0]['problem']} (at {listed[0]['at']}){more}.",
        fields=listed,
    )
