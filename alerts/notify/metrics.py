"""What the notifier says of itself at the service's /metrics. Imports slo.names and prometheus_client.

`gpufleet_notifier_active` is 0 on replicas that leave telling to another: when no replica has 1, nobody tells.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alerts.notify.notifier import Notifier
from slo import names


class NotifierMetrics(Collector):
    """For the service's registry. None is a replica that does not notify."""

    def __init__(self, notifier: Notifier | None) -> None:
        self._notifier = notifier

    def describe(self) -> list[Metric]:
        """Nothing ahead of time: what is there depends on what fires."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The families."""
        active = GaugeMetricFamily(names.NOTIFIER_ACTIVE, "1 on the replica that tells of alerts, 0 on all others.")
        active.add_metric([], float(self._notifier is not None))
        yield active
        if self._notifier is None:
            return
        notifier = self._notifier
        alerts = GaugeMetricFamily(names.NOTIFIER_ALERTS, "1 for each alert that is pending or fires.")
        for alert in notifier.alerts:
            alerts.add_sample(alerts.name, {**alert.condition.labels, "alertstate": alert.state}, 1)
        yield alerts
        sent = CounterMetricFamily(
            names.NOTIFICATIONS, "Notifications by result: ok, refused (wrong key or content), failed (no answer).",
            labels=["target", "result"],
        )  # fmt: skip
        failing = GaugeMetricFamily(names.NOTIFIER_FAILING, "1 while the last attempt failed.", labels=["target"])
        for target in notifier.targets:
            for result, count in target.sent.items():
                sent.add_metric([target.name, result], count)
            failing.add_metric([target.name], float(bool(target.problem)))
        yield sent
        yield failing
        if notifier.pagerduty:
            count, oldest = notifier.outbox.waiting()
            yield GaugeMetricFamily(names.NOTIFICATIONS_WAITING, "Events not yet received.", value=count)
            age = 0.0 if oldest is None else max(0.0, notifier.pagerduty.clock() - oldest)
            yield GaugeMetricFamily(names.NOTIFICATIONS_OLDEST, "Age of the oldest of them.", value=age)
