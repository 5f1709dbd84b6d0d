"""Where counts come from: agents scraped directly, or any Prometheus-compatible API."""
