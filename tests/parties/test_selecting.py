"""How many components parties agree on, from exchanges for each number, while some sites lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dfmr_dask.errors import ExchangeWaits, InvalidExchange
from dfmr_dask.parties import Ballot, aggregate, agree, answer, fit_local, propose, select
from dfmr_dask.parties.opening import read_letter
from dfmr_dask.parties.rows import drawn_samples, opened_whole
from tests.command.calls import dfmr
from tests.parties.conftest import FEATURES, SITES
from tests.parties.test_exchange import LIARS, lied

pytestmark = pytest.mark.slow  # three exchanges of seven sites
ORDERS = (2, 3, 4)


def _held(inbox: Path, stores: dict[str, str], order: int) -> None:
    """Run an exchange to the end of its check."""

    def sent(site: str, letter: object) -> None:
        (lied(letter) if site in LIARS else letter).save(inbox)

    for site, store in stores.items():
        sent(site, propose(store, n_components=order, site=site, features=FEATURES))
    while isinstance(found := agree(inbox), Ballot):
        path = found.save(inbox)
        for site in found.missing:
            sent(site, answer(path, stores[site], site=site))
    start = found.save(inbox)
    for site, store in stores.items():
        sent(site, fit_local(store, start=start, site=site))
    while (merged := aggregate(inbox)).ballot is not None:
        merged.save(inbox)
        for site in merged.ballot.missing:
            sent(site, answer(inbox / merged.ballot.name, stores[site], site=site))
    merged.save(inbox)


@pytest.fixture(scope="module")
def inboxes(stores: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("orders")
    out = []
    for order in ORDERS:
        out.append(folder / f"inbox-{order}")
        out[-1].mkdir()
        _held(out[-1], stores, order)
    return out


def test_the_order_is_found_though_sites_lie(inboxes: list[Path]) -> None:
    found = select(inboxes)
    assert found.selection.n_components == 3
    assert found.inbox == inboxes[1]
    assert set(found.plain["partitions"]) == set(SITES) - set(LIARS)


def test_the_command_reads_the_folders_in_any_order(
    inboxes: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*map(str, reversed(inboxes)), "--json", "--out", str(tmp_path / "out")]
    assert dfmr("select", *words) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["orders"], told["n_components"]) == ([2, 3, 4], 3)
    assert told["inbox"] == str(inboxes[1])
    assert "inbox-3/model.npz" in said.err
    assert (tmp_path / "out" / "selection.png").exists()
    assert dfmr("select", *map(str, inboxes), "--min-gain", "100") == 0
    assert "2 components: one more component gains" in capsys.readouterr().out


def test_samples_are_the_same_rows_for_every_order(
    inboxes: list[Path], stores: dict[str, str]
) -> None:
    drawn = []
    for inbox in inboxes:
        exchange = read_letter(inbox / "start.npz", type(agree(inbox)))[0].exchange
        source = opened_whole(stores["A"], FEATURES, {}, exchange)
        drawn.append(drawn_samples(source, exchange.local(5)).sample.score)
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


def test_what_does_not_belong_together_is_refused(
    inboxes: list[Path], stores: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(InvalidExchange, match=r"\[2, 4\] components came"):
        select([inboxes[0], inboxes[2]])
    with pytest.raises(InvalidExchange, match=r"\[3, 3\]"):
        select([inboxes[1], inboxes[1]])
    with pytest.raises(InvalidExchange, match=r"\[3\]"):
        select([inboxes[1]])
    unfinished = tmp_path / "inbox-4"
    shutil.copytree(inboxes[2], unfinished)
    for path in unfinished.glob("*-check-*"):
        path.unlink()
    with pytest.raises(ExchangeWaits, match="has not come to its end"):
        select([inboxes[1], unfinished])
