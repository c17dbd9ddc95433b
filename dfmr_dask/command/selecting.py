"""``dfmr select``: how many components, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfmr_dask.command.terminal import json_option, overrides_option
from dfmr_dask.errors import InvalidConfiguration

if TYPE_CHECKING:
    from dfmr_dask.selection.curve import Selection

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("paths", metavar="CONFIG | INBOX...", type=PATH, nargs=-1, required=True)
@overrides_option("mixture.max_components=15")
@click.option("--min-gain", type=click.FloatRange(0.0), help="Nats a row that one more must bring.")
@click.option("--out", type=PATH, help="A folder for selection.json and selection.png.")
@json_option
def select(
    paths: tuple[Path, ...],
    overrides: tuple[str, ...],
    min_gain: float | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Choose the number of components; nothing is fitted.

    For a CONFIG from the partitions' samples: the curve over 1, 2, ... mixture.max_components is
    printed, whatever number CONFIG names. For parties from the INBOX of one finished exchange for
    each number, which asks nothing more of the sites.
    """
    if all(path.is_dir() for path in paths):
        _refuse(overrides, "--set", "a configuration")
        found, told = _from_inboxes(paths, min_gain)
    else:
        _refuse(paths[1:], "more than one path", "folders of finished exchanges")
        given = () if min_gain is None else (f"mixture.min_gain={min_gain!r}",)
        found, told = _from_config(paths[0], (*overrides, *given))
    _show(found, told, out, as_json)


def _from_config(path: Path, overrides: tuple[str, ...]) -> tuple[Selection, Mapping[str, Any]]:
    from dfmr_dask.command import jobs  # noqa: PLC0415  (seconds to import; --help needs none of it)
    from dfmr_dask.command.config import read_config  # noqa: PLC0415
    from dfmr_dask.selection.curve import as_plain  # noqa: PLC0415
    from dfmr_dask.show.progress import progress  # noqa: PLC0415

    settings = read_config(path, overrides)
    with progress() as emit:
        found = jobs.select(settings, emit=emit, say=lambda text: click.echo(text, err=True))
    return found, as_plain(found)


def _from_inboxes(
    inboxes: tuple[Path, ...], min_gain: float | None
) -> tuple[Selection, Mapping[str, Any]]:
    from dfmr_dask import parties  # noqa: PLC0415

    chosen = parties.select(inboxes, min_gain=min_gain)
    click.echo(f"next: the model of that order is {chosen.inbox / 'model.npz'}", err=True)
    return chosen.selection, chosen.plain


def _show(found: Selection, told: Mapping[str, Any], out: Path | None, as_json: bool) -> None:
    """Print a curve, and write it with its picture into a folder if that is asked."""
    from dfmr_dask.data.files import plain, write_json  # noqa: PLC0415
    from dfmr_dask.show.pictures.selection import selection_picture  # noqa: PLC0415
    from dfmr_dask.show.report import selection_text  # noqa: PLC0415

    if out is not None and out.exists() and not out.is_dir():
        raise InvalidConfiguration(f"--out {out} is a file; wanted a folder")
    values = plain(told)
    click.echo(json.dumps(values) if as_json else selection_text(values))
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "selection.json", values)
        selection_picture(out / "selection.png", found)
        click.echo(f"{out} holds selection.json and selection.png", err=True)


def _refuse(given: Any, what: str, owner: str) -> None:
    if given:
        raise InvalidConfiguration(f"{what} came, which is for {owner}; leave it out")
