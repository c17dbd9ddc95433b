"""The command that merges what is there already: messages of a run, or fits in a hub's inbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dfmr_dask.command.parties import aggregate_inbox, close_option, sites_option
from dfmr_dask.command.terminal import json_option, run_argument, show_summary
from dfmr_dask.errors import InvalidConfiguration


@click.command()
@run_argument
@click.option("--aggregator", help="dfmr, vanilla, coat, trim or oracle.")
@click.option("--method", help="blocks or paper, each with gates and rho of its own.")
@click.option("--weights", help="shared or free.")
@click.option(
    "--gate", "gates", multiple=True, help="blocks, center, ctd, fisher or l2; may be repeated."
)
@click.option(
    "--rho",
    type=float,
    help="Cut at so many radii of the ball that holds more than half, in place of a cut-off by "
    "the spread of the distances. The paper uses 1.35 to 3.",
)
@click.option(
    "--unit", help="partition, component (judge each on its own) or entry (single features before)."
)
@click.option("--keep", type=int, multiple=True, help="Force a partition in; may be repeated.")
@click.option("--drop", type=int, multiple=True, help="Force a partition out; may be repeated.")
@click.option("--out", help="Name of the folder in RUN/aggregates.")
@sites_option
@close_option
@click.option("--check/--no-check", default=True, help="Let sites vote on the aggregate.")
@json_option
def aggregate(
    run: Path,
    keep: tuple[int, ...],
    drop: tuple[int, ...],
    out: str | None,
    sites: tuple[str, ...],
    close: bool,
    check: bool,
    as_json: bool,
    **changes: Any,
) -> None:
    """Aggregate the stored messages of RUN in another way; nothing is refitted.

    What is not given stays as in the run. In place of a run it may be the inbox of a hub, where
    sites' fits lie; --site, --close and --no-check are for that, and --keep, --drop and --out for
    runs.
    """
    given = {key: value for key, value in changes.items() if value not in (None, ())}
    if _is_inbox(run):
        _refuse(keep or drop or out, "--keep, --drop and --out", "runs", run)
        aggregate_inbox(run, sites=sites, close=close, check=check, as_json=as_json, changes=given)
        return
    _refuse(sites or close or not check, "--site, --close and --no-check", "inboxes", run)
    from dfmr_dask.command.finished import aggregate_again  # noqa: PLC0415

    show_summary(aggregate_again(run, given, keep=keep, drop=drop, name=out), as_json)


def _is_inbox(folder: Path) -> bool:
    """Tell a hub's inbox from the folder of a run."""
    return not (folder / "run.json").exists() and any(folder.glob("*.npz"))


def _refuse(given: Any, options: str, owner: str, path: Path) -> None:
    """Raise when options were given that mean nothing here."""
    if given:
        raise InvalidConfiguration(f"{options} are for {owner}; {path} is none. Leave them out")
