"""What the server counts, for Prometheus. Labels never hold ids, names or texts.

Counted in plain numbers on the event loop and given Prometheus's shape when asked: a request pays two additions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from chatkeep import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics(Collector):
    """The counters of one process. `running` tells how many answers are being generated."""

    def __init__(self, running: Callable[[], int]) -> None:
        self._running = running
        self._answered: dict[tuple[str, str, int], int] = {}
        self._times: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def observe(self, door: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        key = (door, method, status)
        self._answered[key] = self._answered.get(key, 0) + 1
        times = self._times.get(door)
        if times is None:
            times = self._times[door] = [0] * (len(BOUNDS_S) + 1)
        times[bisect_left(BOUNDS_S, seconds)] += 1
        self._seconds[door] = self._seconds.get(door, 0.0) + seconds

    def text(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The counters as Prometheus's families."""
        answered = CounterMetricFamily(
            "chatkeep_requests", "Answered requests.", labels=("door", "method", "status")
        )
        for (door, method, status), count in self._answered.items():
            answered.add_metric((door, method, str(status)), count)
        yield answered
        yield self._histogram()
        yield GaugeMetricFamily("chatkeep_runs_running", "Answers being generated.", value=self._running())
        build = GaugeMetricFamily("chatkeep_build", "Always 1.", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build

    def _histogram(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "chatkeep_request_seconds", "Time to the end of the answer, seconds.", labels=("door",)
        )
        for door, times in self._times.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), times, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric((door,), buckets=buckets, sum_value=self._seconds[door])
        return family
