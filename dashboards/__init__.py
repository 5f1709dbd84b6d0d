"""Dashboards: SLOs and the metric catalogue → Grafana JSON. Knows nothing of alerts. `boards.render` is its face."""
