"""What commands share: arguments, options, and how a summary is printed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

config_argument = click.argument("config", type=click.Path(path_type=Path))
run_argument = click.argument("run", type=click.Path(path_type=Path))
json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on standard output, for scripts."
)


def overrides_option(example: str = "mixture.n_components=5") -> Callable[[Command], Command]:
    """Return what adds ``--set`` to a command, with a key of its configurations as an example."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help=f"Lay a value over the configuration, as in --set {example}.",
    )


def show_summary(summary: Mapping[str, Any], as_json: bool) -> None:
    """Print a summary for people, or as one JSON object."""
    from dfmr_dask.data.files import plain  # noqa: PLC0415
    from dfmr_dask.show.report import summary_text  # noqa: PLC0415

    click.echo(json.dumps(plain(summary)) if as_json else summary_text(summary))
