"""Rules and routes of one example, byte for byte; refreshed by `make generate`."""

import tempfile
from pathlib import Path

from alerts import alertmanager, rules
from slo.spec import load
from tests.bench.detection import HEADING, line, recorded

EXAMPLE = """apiVersion: gpufleet/v1
service: chat
selector: {model_name: llama-3.1-8b, engine: vllm}
slos:
  - {name: ttft, signal: ttft, threshold: 500ms, objective: 95%, window: 30d}
  - {name: tpot, signal: tpot, threshold: 60ms, objective: 99%, window: 28d, group_by: [model_name]}
  - {name: availability, signal: availability, objective: 99.9%, window: 30d}
"""


DETECTION = """# How soon a burn is told

A failure that begins at once and goes on, after clean traffic, of requests over 30 d: the time until the first alert,
and the share of the budget that is spent by then. Generated; what was measured is from
`tests/bench/bench_detection.py`.

- computed: from the objective and the window alone, as `gpufleet slo show` has it for your SLOs.
- embedded: the first event of the service's own paging (a ledger, the service, `alerts/notify`), on an injected clock.
- rules: the first evaluation at which they fire in promtool, which evaluates every 5 m. In a Prometheus, Alertmanager's
  `group_wait` comes on top; in both ways, a scrape.

Failures: of all requests; of one in ten; of twice what the fastest alert of that severity tolerates. Tickets are those
that open where no page does; over `2h` at total failure it is the one for low traffic. Where few requests come, the
evidence takes longer: 10 bad ones for a page, 5 for a ticket, and more where the budget is small (`slo/burn.py`).

"""


def generate() -> dict[Path, str]:
    """Path from the repository's root → text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "slos.yaml")
        path.write_text(EXAMPLE, encoding="utf-8")
        slos = load([path])
    folder_of_goldens = Path("tests/golden/alerts")
    return {
        folder_of_goldens / "rules.yaml": rules.render(slos),
        folder_of_goldens / "alertmanager.yml": alertmanager.render(slos),
        Path("alerts/DETECTION.md"): DETECTION + "\n".join([*HEADING, *map(line, recorded())]) + "\n",
    }
