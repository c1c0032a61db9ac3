"""A service document in plain English, and the difference between two of them."""

from entitlements.explain.changes import explain_change
from entitlements.explain.explanation import Explanation, Line, Section, explain

__all__ = ["Explanation", "Line", "Section", "explain", "explain_change"]
