"""Bodies of answers, read no further than a limit: a server may send without end. Imports aiohttp."""

from __future__ import annotations

import aiohttp


async def within(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The whole body; None, with the connection closed, once it is longer than `most` bytes.

    Raises what aiohttp raises where the body breaks off.
    """
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            response.close()
            return None
    return bytes(body)
