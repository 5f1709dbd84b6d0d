"""Prices are read from a file, and none are made up."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from dashboards.boards import render
from dashboards.check import faults
from dashboards.normalise import all_panels
from dashboards.prices import load_prices
from exporter.model import InputError
from slo.model import Slo


def test_without_prices_the_board_says_so_and_asks_for_no_money(slos: list[Slo]) -> None:
    board = render(slos)["gpufleet-cost"]
    assert list(faults(board)) == []
    panels = [panel for panel in all_panels(board) if panel["type"] != "row"]
    assert any("--gpu-prices" in panel["options"].get("content", "") for panel in panels)
    assert not any("currency" in panel["fieldConfig"].get("defaults", {}).get("unit", "") for panel in panels)


def test_prices_keep_every_digit_and_their_currency(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("currency: EUR\ngpu_hour: {NVIDIA H100 80GB HBM3: 2.4905, A100: '1'}\n", encoding="utf-8")
    prices = load_prices(file)
    assert prices.unit == "currencyEUR"
    assert prices.gpu_hour == {"NVIDIA H100 80GB HBM3": Decimal("2.4905"), "A100": Decimal(1)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: not one mapping"),
        ("currency: USD", ":1: no gpu_hour"),
        ("gpu_hour: {A100: 1}", ":1: no currency"),
        ("currency: DM\ngpu_hour: {A100: 1}", ":1: 'DM' is none of"),
        ("currency: USD\ngpu_hour:\n  A100: 1\n  H100: free", ":4: the price of H100 is 'free'"),
        ("currency: USD\ngpu_hour: {A100: 0}", ":2: the price of A100"),
        ("currency: USD\ngpu_hour: {A100: .inf}", ":2: the price of A100"),
        ("currency: USD\ngpu_hour: {A100: [1]}", ":2: the price of A100"),
        ("currency: USD\ngpu_hour: []", ":2: no price"),
        ("currency: USD\ngpu_hour: {A100: 1}\nhour: 1", ":3: unknown key 'hour'"),
        ("currency: [", ": not valid YAML"),
    ],
)
def test_what_is_no_price_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as told:
        load_prices(file)
    assert said in str(told.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_prices(tmp_path / "none.yaml")
