"""Embedded paging: with no Prometheus, the service evaluates the same alerts and tells Alertmanager or PagerDuty.

Imports slo and the rest of alerts. What holds → how long it has → who is told:
`slo_alerts`, `hardware` → `tracker` → `incidents`, `outbox`, `pagerduty`; or `alertmanager`. `notifier` ties them.

Decision (accepted). Context: rules are evaluated by a Prometheus, and someone with a few GPUs has none. Decision: burn,
exhausted, no data and undecided come from the service's statuses, which slo.burn makes as it makes the rules; of the
alerts on hardware those that one page shows by itself (lost GPU, driver, fatal XID, engine down, agent gone), with the
times of their rules. Everything else, such as trends over series, is told by rules alone. Consequences: a state differs
from that of the rules by one tile at most, which a test holds; whoever runs both ways is told twice, so run one.
"""
