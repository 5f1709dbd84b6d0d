"""What an hour of a GPU costs, by the model's name, from a file. Imports slo's reader of YAML and the agent's error.

There are no prices of ours: they differ by contract and change by the month, and a wrong one looks like a right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

from grafanalib import formatunits

from exporter.model import InputError
from exporter.yaml_lines import Node, YamlFormatError, read

_UNIT = "currency"
CURRENCIES = tuple(
    sorted(v.removeprefix(_UNIT) for v in vars(formatunits).values() if isinstance(v, str) and v.startswith(_UNIT))
)
"""Those that Grafana has a unit for."""
_KEYS = ("currency", "gpu_hour")
_SHAPE = "write `currency: USD` and `gpu_hour: {<the GPU's modelName>: 2.50}`"


@dataclass(frozen=True, slots=True)
class Prices:
    """`gpu_hour` is the price of one GPU for one hour by `modelName`; empty where nobody has told prices."""

    currency: str = ""
    gpu_hour: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Grafana's name of the currency."""
        return f"{_UNIT}{self.currency}"


def load_prices(path: Path) -> Prices:
    """The prices of a file. Raises InputError with its line for anything that is not a price above 0."""
    try:
        documents = read(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}), give a file of prices") from error
    except YamlFormatError as error:
        raise InputError(f"{path}:{error.line}: {error.text}") from error
    if len(documents) != 1 or documents[0].mapping is None:
        raise InputError(f"{path}:1: not one mapping, {_SHAPE}")
    root = documents[0].mapping
    for key, entry in root.items():
        if key not in _KEYS:
            raise InputError(f"{path}:{entry.line}: unknown key {key!r}, {_SHAPE}")
    for key in _KEYS:
        if key not in root:
            raise InputError(f"{path}:1: no {key}, {_SHAPE}")
    currency, hours = root["currency"].node, root["gpu_hour"].node
    if currency.text not in CURRENCIES:
        raise InputError(f"{path}:{currency.line}: {currency.text!r} is none of {', '.join(CURRENCIES)}")
    if not hours.mapping:
        raise InputError(f"{path}:{hours.line}: no price in gpu_hour, {_SHAPE}")
    return Prices(currency.text, {name: _price(path, name, one.node) for name, one in hours.mapping.items()})


def _price(path: Path, name: str, node: Node) -> Decimal:
    try:
        price = Decimal(node.text)
    except InvalidOperation:
        price = Decimal("NaN")
    if not price.is_finite() or price <= 0:
        raise InputError(f"{path}:{node.line}: the price of {name} is {node.text!r}, write a number above 0")
    return price
