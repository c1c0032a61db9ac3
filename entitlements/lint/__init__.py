"""What a service manager should be told before a document goes live: errors refuse it, warnings may be right."""

from entitlements.lint.document import lint
from entitlements.lint.findings import Finding, KnownFacts, with_lines

__all__ = ["Finding", "KnownFacts", "lint", "with_lines"]
