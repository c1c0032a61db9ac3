"""What happens while a site has no network, in words."""

from __future__ import annotations

from entitlements.explain.people import Told
from entitlements.explain.words import Names, counted, humanise, length, plural
from entitlements.service import Balance, BookingRule, Capacity, Quota, ServiceDocument, Upstream


def offline(document: ServiceDocument, names: Names) -> Told:
    """Sentences in the order a manager asks: who decides, for how long, and what of each limit."""
    rule = document.offline
    if rule.mode == "staff_only":
        return [(0, "The gate lets nobody in by itself. A member of staff decides")]
    lines = [_freshness(rule.max_stale)]
    leases = dict(rule.lease)
    for limit in document.limits:
        if isinstance(limit, Quota):
            lines += _quota(limit, leases.get(limit.account, 0), document, names)
        elif isinstance(limit, Balance):
            lines.append("no money can be spent until the network is back")
        elif isinstance(limit, BookingRule):
            lines.append(
                "today’s bookings that the gate already has still work"
                if rule.bookings == "cached_today"
                else "bookings cannot be checked, so nobody can come in on one"
            )
        elif isinstance(limit, Capacity) and rule.capacity != "enforce":
            lines.append(
                "the limit on numbers is not checked"
                if rule.capacity == "ignore"
                else "the limit on numbers is checked with what the site itself has counted"
            )
    guarded = document.presence.anti_passback is not None or document.presence.one_at_a_time is not None
    if guarded and rule.presence != "enforce":
        lines.append(
            "the site does not check whether someone is already inside"
            if rule.presence == "ignore"
            else "the site only checks whether someone is already inside at that same site"
        )
    for check in document.requires:
        if isinstance(check, Upstream) and check.if_unknown != "allow":
            then = "nobody can come in" if check.if_unknown == "deny" else "a member of staff decides"
            old = f"more than {length(check.max_age)} old"
            lines.append(f"once the last answer from the {names.thing(check.name)} is {old}, {then}")
    return [(0, line) for line in lines]


def _freshness(max_stale: int | None) -> str:
    if max_stale is None:
        return "The gate keeps working from the last information it received, however old that is"
    if max_stale == 0:
        return "The gate sends everyone to a member of staff"
    return (
        f"The gate keeps working for up to {length(max_stale)} from the last information it received. "
        "After that, it sends people to a member of staff"
    )


def _quota(quota: Quota, lease: int, document: ServiceDocument, names: Names) -> list[str]:
    unit = humanise(quota.unit)
    if quota.counts == "created":
        return []
    if not lease:
        return [f"{plural(unit, 2)} cannot be counted, so nobody can come in until the network is back"]
    lines = [f"each site can still give out {counted(lease, unit)} to each {names.thing(quota.scope)}"]
    if document.offline.on_overspend == "allow_and_flag":
        lines.append(
            f"if two sites both give out the last {unit}, staff see a note of it and nobody has to give it back"
        )
    return lines
