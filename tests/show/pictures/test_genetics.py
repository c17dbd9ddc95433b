"""Pictures of memberships and principal components, and the list of what was thrown out."""

from __future__ import annotations

import numpy as np

from dfmr_dask import open_source
from dfmr_dask.aggregate.verdict import Verdict
from dfmr_dask.genetics import Axes
from dfmr_dask.show.pictures.genetics import membership_bars, principal_plot, thrown_out


def drawn(ax, tmp_path):
    path = tmp_path / "picture.png"
    ax.figure.savefig(path, dpi=60)
    return path.stat().st_size


def test_bars_are_cut_by_memberships_in_groups(tmp_path):
    found = np.array([[1.0, 0.0], [0.3, 0.7], [0.6, 0.4], [0.0, 1.0]])
    ax = membership_bars(found, ["B", "A", "B", "A"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["B", "A"]
    first, second = ax.patches
    assert first.get_data().values.tolist() == [1.0, 0.6, 0.0, 0.3]  # the surest first
    assert second.get_data().values.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert drawn(ax, tmp_path) > 1000


def test_many_samples_become_as_many_bars_as_there_is_room_for():
    found = np.random.default_rng(0).dirichlet(np.ones(3), size=9000)
    ax = membership_bars(found)
    assert len(ax.patches[0].get_data().values) == 4000
    assert ax.get_xlim() == (0.0, 9000.0)


def test_samples_are_colored_by_component(tmp_path):
    scores = np.random.default_rng(0).normal(size=(30, 2))
    labels = np.arange(30) % 4 - 1
    ax = principal_plot(Axes(scores, np.eye(3, 2), np.array([0.2, 0.1])), labels)
    assert ax.get_ylabel() == "principal component 2 (10.0 %)"
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["component 0", "component 1", "component 2", "no call"]
    assert drawn(ax, tmp_path) > 1000


def test_what_was_thrown_out_is_listed_with_its_place():
    source = open_source(np.zeros((12, 3)), features=["a", "b", "c"], plan="rows", n_partitions=4)
    kept = np.ones((4, 3), dtype=bool)
    kept[0, 1] = kept[2, 0] = kept[3, 2] = False
    verdict = Verdict((0, 2), {3: "too far"}, {1: "unreadable"}, entries_kept=kept)
    table = thrown_out(verdict, source)
    assert table["partition"].tolist() == [0, 1, 2, 3]
    assert table["feature"].tolist() == ["b", "all", "a", "all"]
    assert table["location"][0] == "row 0:3"
    assert table["reason"].tolist()[1::2] == ["unreadable", "too far"]
