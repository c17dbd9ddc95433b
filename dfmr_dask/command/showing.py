"""``dfmr show``: the summary of a run again, or the run itself while it goes on."""

from __future__ import annotations

from pathlib import Path

import click

from dfmr_dask.command.terminal import json_option, run_argument, show_summary


@click.command()
@run_argument
@click.option("--watch", "follow", is_flag=True, help="Follow a run that is going until it ends.")
@json_option
def show(run: Path, follow: bool, as_json: bool) -> None:
    """Show the summary of a finished RUN again, or follow one that is still going."""
    from dfmr_dask.errors import RunUnfinished  # noqa: PLC0415
    from dfmr_dask.run.ledger import Ledger  # noqa: PLC0415
    from dfmr_dask.show.progress import progress  # noqa: PLC0415
    from dfmr_dask.show.watching import standing, watch  # noqa: PLC0415

    if follow:
        with progress() as emit:
            watch(run, emit)
    try:
        summary = Ledger.open(run).summary()
    except RunUnfinished as error:
        raise RunUnfinished(standing(run)) from error
    show_summary(summary, as_json)
