"""Rules, boards and runbooks over HTTP, to mount on the SLO service: /rules.yaml, /dashboards/{uid}.json, /runbooks.

Here because neither slo nor alerts nor dashboards may know of each other. What is served is what `gpufleet alerts
write` and `gpufleet dashboards write` would write for the same SLOs. It is rendered in a thread when first asked for,
then kept until the SLOs are others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources

from aiohttp import web

from alerts import rules
from alerts.links import Links
from dashboards import boards
from exporter.model import InputError
from slo.model import Slo

RUNBOOKS = "/runbooks"
"""Where runbooks are served."""


class _Rendered:
    """What is made of some SLOs, once."""

    def __init__(self, slos: Mapping[str, Slo], page_url: str) -> None:
        self.slos = slos
        links = Links(runbooks=f"{page_url}{RUNBOOKS}", page=page_url)

        @cache
        def rules_text() -> str:
            return rules.render(list(slos.values()), links=links)

        @cache
        def board_texts() -> dict[str, str]:
            made = boards.render(list(slos.values()), page_url=page_url)
            return {uid: boards.to_text(board) for uid, board in made.items()}

        self.rules, self.boards = rules_text, board_texts


def routes(slos: Callable[[], Mapping[str, Slo]], *, page_url: str) -> list[web.RouteDef]:
    """Routes for slo.api.make_app. `slos` gives those of now, the same object as long as they are the same.

    `page_url` is the service's own address, for links in what is rendered.
    """
    held = _Rendered(slos(), page_url)

    def rendered() -> _Rendered:
        nonlocal held
        if held.slos is not slos():
            held = _Rendered(slos(), page_url)
        return held

    async def rules_yaml(_request: web.Request) -> web.Response:
        try:
            text = await asyncio.to_thread(rendered().rules)
            return web.Response(text=text, content_type="application/yaml")
        except InputError as error:
            return web.Response(status=422, text=f"{error}\n")

    async def board_json(request: web.Request) -> web.Response:
        texts = await asyncio.to_thread(rendered().boards)
        uid = request.match_info["uid"]
        if uid not in texts:
            return web.Response(status=404, text=f"no board {uid!r}: there are {', '.join(sorted(texts))}\n")
        return web.Response(text=texts[uid], content_type="application/json")

    async def runbook(request: web.Request) -> web.Response:
        known = sorted(path.name for path in (resources.files("alerts") / "runbooks").iterdir())
        name = request.match_info["name"]
        if name not in known:
            return web.Response(status=404, text=f"no runbook {name!r}: there are {', '.join(known)}\n")
        return web.Response(text=(resources.files("alerts") / "runbooks" / name).read_text(encoding="utf-8"))

    return [
        web.get("/rules.yaml", rules_yaml),
        web.get("/dashboards/{uid}.json", board_json),
        web.get(f"{RUNBOOKS}/{{name}}", runbook),
    ]
