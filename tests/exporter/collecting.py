"""What tests of a driver's source wait for, and how they run it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from exporter.model import Collected
from exporter.sources.nvml import NvmlSource


def up(_readings: Any, collected: Collected) -> bool:
    return collected.health.up


def down(_readings: Any, collected: Collected) -> bool:
    """Down for a reason, and not because it has only begun."""
    return not collected.health.up and "starting" not in collected.health.reason


def run(source: NvmlSource, body: Callable[[], Awaitable[None]]) -> None:
    """The body of a test, then the end of its source: no worker may stand abandoned."""

    async def whole() -> None:
        try:
            await body()
        finally:
            await source.close()
            assert source.abandoned == 0

    asyncio.run(whole())
