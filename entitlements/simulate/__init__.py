"""Trying a draft before it goes live: last month's taps replayed, and example residents."""

from entitlements.simulate.residents import Outlook, Resident, Standing, typical_residents, what_if
from entitlements.simulate.simulation import Change, Example, Prices, Simulation, Treatment, simulate
from entitlements.simulate.taps import EMPTY, Inside, ReplayTap, Start

__all__ = [
    "EMPTY",
    "Change",
    "Example",
    "Inside",
    "Outlook",
    "Prices",
    "ReplayTap",
    "Resident",
    "Simulation",
    "Standing",
    "Start",
    "Treatment",
    "simulate",
    "typical_residents",
    "what_if",
]
