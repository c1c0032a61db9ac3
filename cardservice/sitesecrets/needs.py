"""What a reader's site needs: worked out from the documents in force, and nothing more is given out. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cardservice.catalogue.loading import Catalogue
from entitlements.compiled import CompiledService
from entitlements.service import accepted_presentations, asks_pin
from entitlements.wire.feed import Lane

Needs = frozenset[str]
"""Of one council's cards at one site: ``pin``, ``totp``, ``chip``, ``uid``."""
SECRET_KINDS = frozenset(("totp", "chip", "uid"))
"""Presentations that are checked with a secret."""


def site_needs(catalogue: Catalogue, site: str, lanes: Sequence[Lane], areas: Iterable[str]) -> Needs:
    """What a site needs to serve the cards of one council.

    Args:
        catalogue: of that council, with what others share with it.
        site: the reader's site.
        lanes: its lanes.
        areas: service areas of the council whose feeds the reader carries.
    """
    needs: set[str] = set()
    for area in areas:
        offering = [lane for lane in lanes if area in lane.areas]
        for service in catalogue.area(area).services:
            if any(_offers(lane, service, site) for lane in offering):
                needs |= accepted_presentations(service.document) & SECRET_KINDS
                if asks_pin(service.document):
                    needs.add("pin")
    return frozenset(needs)


def _offers(lane: Lane, service: CompiledService, site: str) -> bool:
    """Whether a lane may let somebody in by a service: as :func:`entitlements.decide.decide` looks at site and zone."""
    return (
        (lane.services is None or service.id in lane.services)
        and (service.sites is None or site in service.sites)
        and (service.zones is None or lane.zone in service.zones)
    )
