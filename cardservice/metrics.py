"""What the service counts, for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True)
class Metrics:
    """One registry a process; made by ``cardservice.app``."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Histogram = field(init=False)
    streams: Gauge = field(init=False)
    changes_pushed: Counter = field(init=False)
    taps: Counter = field(init=False)

    def __post_init__(self) -> None:
        make = object.__setattr__
        buckets = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
        make(
            self,
            "requests",
            Histogram(
                "cardservice_request_seconds",
                "Time to answer a request.",
                ("method", "path", "status"),
                registry=self.registry,
                buckets=buckets,
            ),
        )
        make(
            self, "streams", Gauge("cardservice_streams", "Readers connected to this process.", registry=self.registry)
        )
        make(
            self,
            "changes_pushed",
            Counter(
                "cardservice_changes_pushed", "Feed changes pushed to streams by this process.", registry=self.registry
            ),
        )
        make(
            self,
            "taps",
            Counter("cardservice_taps", "Tap items received, by result.", ("result",), registry=self.registry),
        )
