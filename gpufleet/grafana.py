"""Boards into a Grafana by its HTTP API: the folder, then each board in place of the one of its uid.

Imports aiohttp and slo.sources.http. Tested against a stub that answers as Grafana's API reference says, not against a
Grafana. A redirect is not followed: the token is for the address that was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from exporter.model import InputError
from slo.sources.http import one_line, reason

TIMEOUT_SECONDS = 30.0
_MOST_BYTES = 4096
"""Read of an answer that says why not."""
_MESSAGE = "written by gpufleet"
_WHY = {
    401: "the token is not valid, make one for a service account with the role Editor",
    403: "the token may not do this, give its service account the role Editor",
    404: "no Grafana API there, give the address that the browser shows, with its path",
    412: "the board was provisioned from files or belongs to another folder, change it there",
}


def read_token(path: Path) -> str:
    """The token in a file. Raises InputError where there is none."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not plain text"
        raise InputError(
            f"{path}: cannot be read ({reason}), give a file with the token of a service account"
        ) from error
    if not token or any(sign.isspace() for sign in token):
        raise InputError(f"{path}:1: not one token, write the token of a service account and nothing else")
    return token


async def push(boards: Mapping[str, Mapping[str, Any]], *, grafana: str, token: str, folder: str) -> list[str]:
    """Addresses of the boards. Raises InputError where Grafana cannot be reached or refuses; earlier ones stay."""
    base = URL(grafana)
    if base.scheme not in ("http", "https") or not base.host:
        raise InputError(f"--grafana {grafana}: not an address, write one such as https://grafana.example")
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    found = []
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        uid = await _folder(session, base, folder)
        for board in boards.values():
            body = {"dashboard": {**board, "id": None}, "folderUid": uid, "overwrite": True, "message": _MESSAGE}
            told = await _ask(session, "POST", base / "api/dashboards/db", str(board["title"]), body)
            found.append(str(base.origin()) + str(told.get("url", "")))
    return found


async def _folder(session: aiohttp.ClientSession, base: URL, title: str) -> str:
    """The uid of the folder of this title; made where there is none."""
    for one in await _ask(session, "GET", (base / "api/folders").with_query(limit=1000), f"folder {title}"):
        if one.get("title") == title:
            return str(one["uid"])
    return str((await _ask(session, "POST", base / "api/folders", f"folder {title}", {"title": title}))["uid"])


async def _ask(session: aiohttp.ClientSession, method: str, url: URL, what: str, body: Any = None) -> Any:
    try:
        async with session.request(method, url, json=body, allow_redirects=False) as answer:
            if answer.status == 200:
                return await answer.json()
            told = one_line(await answer.content.read(_MOST_BYTES))
            why = _WHY.get(answer.status, "see Grafana's log")
            if 300 <= answer.status < 400:
                why = f"it points to {answer.headers.get('Location', 'elsewhere')}, give that address"
            raise InputError(f"{url.origin()}: {what}: Grafana answered {answer.status} ({told}), {why}")
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        why = f"nothing within {TIMEOUT_SECONDS:g} s" if isinstance(error, TimeoutError) else "not with JSON"
        if isinstance(error, aiohttp.ClientError):
            why = reason(error)
        raise InputError(f"{url.origin()}: {what}: no answer of a Grafana ({why}), is it up?") from error
