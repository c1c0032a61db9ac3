"""What every change of a feed carries."""

from __future__ import annotations

import msgspec


class Change(msgspec.Struct, frozen=True, kw_only=True, tag_field="t"):
    """What every change carries.

    ``n`` is its number in the feed, ``tn`` the tenant's issue number when it was written, ``at`` the service's clock
    then, in milliseconds since the epoch.
    """

    n: int
    tn: int
    at: int
