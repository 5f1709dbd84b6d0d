"""Static files of the page, read once: our own, and the chart library out of its package."""

from __future__ import annotations

import gzip
import hashlib
from importlib import resources


def static_files() -> dict[str, tuple[str, str, bytes, bytes]]:
    """name → (content tag, media type, bytes, gzipped bytes)."""
    own = resources.files("slo.page") / "static"
    sources = {entry.name: entry for entry in own.iterdir() if entry.name.endswith((".css", ".js", ".svg"))}
    sources["d3.js"] = resources.files("xstatic.pkg.d3") / "data" / "d3.js"
    media = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    found = {}
    for name, entry in sources.items():
        body = entry.read_bytes()
        tag = hashlib.sha256(body).hexdigest()[:16]
        found[name] = (tag, media[name.rsplit(".", 1)[1]], body, gzip.compress(body, 9))
    return found
