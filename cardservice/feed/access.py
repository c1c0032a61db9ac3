"""Which feed a reader asks for, and whether it may."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cardservice.api.call import Call
from cardservice.errors import ApiProblem
from entitlements.wire.feed import feed_name

_FEED: Final = re.compile(r"([a-z][a-z0-9-]{1,15})/([A-Za-z0-9][A-Za-z0-9_.:-]{0,99})")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedRef:
    """A feed that the calling reader is enrolled for. The feed's tenant may be another than the reader's."""

    tenant: str
    area: str

    @property
    def name(self) -> str:
        """``tenant/area``."""
        return feed_name(self.tenant, self.area)


def enrolled_feed(call: Call, name: str) -> FeedRef:
    """A feed by its name.

    Raises:
        ApiProblem: 403 where the reader's enrolment does not name it, whether there is such a feed or not.
    """
    match = _FEED.fullmatch(name)
    if match is None or name not in call.reader["feeds"]:
        raise ApiProblem(403, "feed_not_enrolled", f"This reader is not enrolled for the feed {name[:120]!r}.")
    return FeedRef(tenant=match[1], area=match[2])


def feed_of_path(call: Call) -> FeedRef:
    """The feed of ``/v1/feeds/{tenant}/{area}/...``; raises like :func:`enrolled_feed`."""
    return enrolled_feed(call, f"{call.path('tenant')}/{call.path('area')}")
