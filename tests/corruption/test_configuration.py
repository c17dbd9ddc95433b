"""What a configuration says of an attack."""

from __future__ import annotations

from typing import Any

import pytest

from dfmr_dask.command.config import configuration
from dfmr_dask.corruption import ATTACKS, Corruption
from dfmr_dask.errors import InvalidConfiguration

SMALLEST = {
    "source": {"path": "a.zarr"},
    "mixture": {"n_components": 3},
    "run": {"folder": "runs/a"},
}


def told(**options: Any) -> Corruption:
    section = configuration({**SMALLEST, "corruption": {"fraction": 0.2, **options}}).corruption
    assert section is not None
    return section.corruption()


@pytest.mark.parametrize("attack", [name for name in ATTACKS if name != "data"])
def test_every_attack_can_be_named(attack: str) -> None:
    assert told(attack=attack) == Corruption(attack, 0.2)


def test_all_of_an_attack_is_told() -> None:
    options = {"attack": "shift", "size": 5, "component": [0, 2], "claimed_rows": 10**9}
    wanted = Corruption("shift", 0.2, size=5.0, component=(0, 2), claimed_rows=10**9)
    assert told(**options) == wanted
    assert told(attack="mean", component=1) == Corruption("mean", 0.2, component=(1,))
    assert told(attack="mean", component="random").component == "random"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"attack": "melt"}, "corruption.attack: came 'melt'; wanted 'none', 'data', 'mean'"),
        ({"attack": "weight", "size": 2.0}, r"corruption.size: came 2\.0; wanted a size that fits"),
        ({"attack": "shift", "size": -1.0}, "corruption.size: came -1.0; wanted greater than 0"),
        ({"attack": "wide", "component": [0, 1]}, "corruption.component: .* takes one component"),
        ({"attack": "wide", "component": "all"}, "corruption.component: came 'all'; wanted"),
        ({"attack": "mean", "claimed_rows": 0}, "corruption.claimed_rows: came 0; wanted"),
        ({"attack": "mean", "claimed_rows": 2**63}, "corruption.claimed_rows: .* wanted rows"),
        ({"attack": "mean", "sise": 1.0}, "corruption.sise: unknown key; did you mean size"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidConfiguration, match=text):
        told(**options)
