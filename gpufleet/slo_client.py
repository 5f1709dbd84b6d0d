"""Asks a running SLO service for its SLOs. Imports aiohttp and slo.sources.http."""

from __future__ import annotations

from typing import Any

import aiohttp

from exporter.model import InputError
from slo.sources.http import login, reason, without_login

_TIMEOUT = aiohttp.ClientTimeout(total=30)


async def fetch(url: str) -> list[dict[str, Any]]:
    """Every object of /api/v1/slos, page by page. Raises InputError where the service does not answer as it should."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    headers, url = login(url), without_login(url).rstrip("/")
    try:
        async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session:
            while cursor is not None:
                query = {"cursor": cursor} if cursor else {}
                async with session.get(f"{url}/api/v1/slos", params=query) as answer:
                    if answer.status != 200:
                        raise InputError(f"{url}: answers {answer.status}: is it a gpufleet SLO service?")
                    page = await answer.json()
                found += page["slos"]
                cursor = page["next"]
    except (aiohttp.ClientError, TimeoutError) as error:
        what = reason(error) if isinstance(error, aiohttp.ClientError) else f"nothing within {_TIMEOUT.total:g} s"
        raise InputError(f"{url}: does not answer ({what}): start it with gpufleet slo serve, or give --url") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{url}: does not answer like a gpufleet SLO service: give its --url") from error
    return found
