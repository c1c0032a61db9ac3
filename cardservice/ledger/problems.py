"""Problems that the parts of the state have in common."""

from __future__ import annotations

from typing import Any

from cardservice.errors import ApiProblem


def wrong_value(at: str, problem: str) -> ApiProblem:
    """422 for one value of the body, by its JSON pointer."""
    return ApiProblem(
        422, "wrong_values", f"The body is wrong at {at}: {problem}.", fields=[{"at": at, "problem": problem}]
    )


def refused(reason: str, sentence: str, **extra: Any) -> ApiProblem:
    """409 for what the rules of a service do not allow; ``reason`` is the decision's word for it."""
    return ApiProblem(409, reason, sentence, extra={"reason": reason, **extra})
