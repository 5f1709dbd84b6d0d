"""Alerts: SLOs and the metric catalogue → rule files, Alertmanager routes, runbooks. Knows nothing of dashboards."""
