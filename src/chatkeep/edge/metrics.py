"""What the server counts, for Prometheus. Labels never hold ids, names or texts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from chatkeep import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "chatkeep_requests", "Answered requests.", ("door", "method", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "chatkeep_request_seconds",
            "Time to the end of the answer, seconds.",
            ("door",),
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "chatkeep_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.runs = Gauge("chatkeep_runs_running", "Answers being generated.", registry=self.registry)
        Gauge("chatkeep_build", "Always 1.", ("version",), registry=self.registry).labels(__version__).set(1)
        self._children: dict[tuple[str, str, int], Counter] = {}
        self._timers: dict[str, Histogram] = {}

    def observe(self, door: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (door, method, status)
        counter = self._children.get(key)
        if counter is None:
            counter = self._children[key] = self._requests.labels(door, method, str(status))
            self._timers[door] = self._seconds.labels(door)
        counter.inc()
        self._timers[door].observe(seconds)

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self.registry)
