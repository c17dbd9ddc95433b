"""``dfmr select``: how many components, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dfmr_dask.command.terminal import config_argument, json_option, overrides_option
from dfmr_dask.errors import InvalidConfiguration

if TYPE_CHECKING:
    from dfmr_dask.selection.curve import Selection


@click.command()
@config_argument
@overrides_option("mixture.max_components=15")
@click.option(
    "--out", type=click.Path(path_type=Path), help="A folder for selection.json and selection.png."
)
@json_option
def select(config: Path, overrides: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Choose the number of components for CONFIG from the partitions' samples; nothing is fitted.

    The curve over 1, 2, ... mixture.max_components is printed, whatever number CONFIG names.
    """
    from dfmr_dask.command import jobs  # noqa: PLC0415  (seconds to import; --help needs none of it)
    from dfmr_dask.command.config import read_config  # noqa: PLC0415
    from dfmr_dask.show.progress import progress  # noqa: PLC0415

    settings = read_config(config, overrides)
    with progress() as emit:
        found = jobs.select(settings, emit=emit, say=lambda text: click.echo(text, err=True))
    show_selection(found, out, as_json)


def show_selection(found: Selection, out: Path | None, as_json: bool) -> None:
    """Print a curve, and write it with its picture into a folder if that is asked."""
    from dfmr_dask.data.files import plain, write_json  # noqa: PLC0415
    from dfmr_dask.selection.curve import as_plain  # noqa: PLC0415
    from dfmr_dask.show.report import selection_text  # noqa: PLC0415
    from dfmr_dask.show.selection_picture import selection_picture  # noqa: PLC0415

    told = plain(as_plain(found))
    click.echo(json.dumps(told) if as_json else selection_text(told))
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise InvalidConfiguration(f"--out {out} is a file; wanted a folder")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "selection.json", told)
    selection_picture(out / "selection.png", found)
    click.echo(f"{out} holds selection.json and selection.png", err=True)
