"""The ``dfmr`` command.

Exit codes: 0 done; 1 a run failed, and a text says why; 2 a configuration or command line that is
not understood; 130 interrupted. What is asked for goes to standard output, all else to standard
error.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from dfmr_dask import __version__
from dfmr_dask.command.aggregating import aggregate
from dfmr_dask.command.parties import agree, answer, fit_local, propose
from dfmr_dask.command.selecting import select
from dfmr_dask.command.shuffling import shuffle
from dfmr_dask.command.terminal import (
    config_argument,
    json_option,
    overrides_option,
    run_argument,
    show_summary,
)
from dfmr_dask.errors import DfmrError, InvalidConfiguration, RunFolderExists

if TYPE_CHECKING:
    from dfmr_dask.command.schema import RunConfig

FAILED, MISUNDERSTOOD, INTERRUPTED = 1, 2, 130
NAMED = 10  # blocks that could not be read


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and leave with its exit code.

    Parameters
    ----------
    args : sequence of str, optional
        In place of those of the process.
    """
    sys.exit(_code(args))


def _code(args: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in given  # before the command or after it
    try:
        words = [word for word in given if word != "--debug"]
        code = commands.main(words, prog_name="dfmr", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exception as error:
        if debug:
            click.echo(_safe("".join(traceback.format_exception(error))), err=True)
        told, code = _answer(error)
        click.echo(_safe(" ".join([f"dfmr: {told}", *_notes(error)])), err=True)
        return code


def _answer(error: Exception) -> tuple[str, int]:
    """Return what is said about an error, and the exit code."""
    if isinstance(error, click.Abort):
        left = "." if _notes(error) else "; nothing half done was left."
        return f"interrupted{left}", INTERRUPTED
    if isinstance(error, InvalidConfiguration | RunFolderExists):
        return str(error), MISUNDERSTOOD
    name = type(error).__name__
    if isinstance(error, DfmrError | OSError):
        return str(error) or name, FAILED
    again = "run again with --debug for the traceback"
    return f"internal error: {name}: {error}; {again}", FAILED


def _notes(error: BaseException) -> list[str]:
    """Return what is said of the folder of a run that was cut short."""
    interrupt = isinstance(error, click.Abort) and error.__cause__  # click's name for Ctrl-C
    return list(getattr(interrupt or error, "__notes__", []))


def _safe(text: str) -> str:
    from dfmr_dask.data.remote import without_secrets  # noqa: PLC0415

    return without_secrets(text)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dfmr")
@click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks of errors.")
def commands() -> None:
    """Fit finite mixtures to Zarr stores, right while almost half of the pieces are bad."""


@commands.command()
@config_argument
@overrides_option()
@click.option("--overwrite", is_flag=True, help="Replace an earlier run in the same folder.")
@json_option
def run(config: Path, overrides: tuple[str, ...], overwrite: bool, as_json: bool) -> None:
    """Do all that CONFIG asks for: fit, aggregate, label, draw."""
    from dfmr_dask.command import jobs  # noqa: PLC0415  (seconds to import; --help needs none of it)
    from dfmr_dask.command.config import read_config  # noqa: PLC0415
    from dfmr_dask.show.progress import progress  # noqa: PLC0415

    settings = read_config(config, overrides)
    with progress() as emit:
        summary = jobs.run(settings, overwrite=overwrite, emit=emit, say=_aside)
    show_summary(summary, as_json)


@commands.command()
@config_argument
@overrides_option("grid.rows=500")
@click.option("--overwrite", is_flag=True, help="Begin anew, in place of going on.")
@json_option
def compare(config: Path, overrides: tuple[str, ...], overwrite: bool, as_json: bool) -> None:
    """Compare aggregators under the attacks of CONFIG; called again, go on where it stopped."""
    from dfmr_dask.command import comparing  # noqa: PLC0415
    from dfmr_dask.data.files import plain  # noqa: PLC0415
    from dfmr_dask.show.progress import progress  # noqa: PLC0415

    settings = comparing.read_comparison(config, overrides)
    with progress() as emit:
        found = comparing.run(settings, overwrite=overwrite, emit=emit, say=_aside)
    click.echo(json.dumps(plain(found)) if as_json else comparing.text_of(found))


@commands.command()
@config_argument
@overrides_option()
@click.option(
    "--sample",
    is_flag=True,
    help="Draw the samples of the start, and tell which way an auto plan would take, and why.",
)
@json_option
def plan(config: Path, overrides: tuple[str, ...], sample: bool, as_json: bool) -> None:
    """Show what CONFIG would read, and the memory it takes; nothing is computed.

    A plan is auto unless CONFIG forces one: each chunk is a partition where samples find them
    alike, and else partitions are interleaved.
    """
    from dfmr_dask.command.config import read_config  # noqa: PLC0415
    from dfmr_dask.command.preparation import opened  # noqa: PLC0415
    from dfmr_dask.show.reading import plan_summary, plan_text  # noqa: PLC0415

    settings = read_config(config, overrides)
    _check_made(settings, config)
    memory = settings.cluster.memory_per_worker
    if sample:
        from dfmr_dask.command.sampling import sampled_plan  # noqa: PLC0415
        from dfmr_dask.show.progress import progress  # noqa: PLC0415

        with progress() as emit:
            found = sampled_plan(settings, emit=emit, say=_aside)
    else:
        found = plan_summary(opened(settings.source, settings.run.seed, memory=memory))
    click.echo(json.dumps(found) if as_json else plan_text(found))


@commands.command()
@config_argument
@overrides_option()
def simulate(config: Path, overrides: tuple[str, ...]) -> None:
    """Write the seeded synthetic store that CONFIG describes, with its truth beside it."""
    from dfmr_dask.command.config import read_config  # noqa: PLC0415
    from dfmr_dask.command.preparation import make_store, truth_of  # noqa: PLC0415
    from dfmr_dask.run.events import Event  # noqa: PLC0415
    from dfmr_dask.show.progress import progress  # noqa: PLC0415

    settings = read_config(config, overrides)
    with progress() as emit:
        new = make_store(settings, lambda done, total: emit(Event("simulate", done, total)))
    click.echo(f"{settings.source.path} {'is written' if new else 'is there already'}")
    truth = truth_of(settings)
    if truth is not None and truth.is_file():
        click.echo(f"{truth} holds the true mixture")


@commands.command()
@run_argument
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--group", help="Group in the store.")
@click.option("--features", multiple=True, help="A variable, or the dimension; may be repeated.")
@click.option(
    "--storage-option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="For the store, as in --storage-option anon=true; may be repeated. Runs keep none.",
)
@click.option(
    "--what",
    multiple=True,
    type=click.Choice(["labels", "posterior", "log_density"]),
    default=["labels"],
    show_default=True,
    help="What is written of each row; may be repeated, at the price of one pass.",
)
@click.option("--overwrite", is_flag=True, help="Begin anew, and replace labels in OUT.")
@click.option("--strict", is_flag=True, help="Fail when a block of the store cannot be read.")
def predict(
    run: Path,
    source: str,
    out: Path,
    group: str | None,
    features: tuple[str, ...],
    options: tuple[str, ...],
    what: tuple[str, ...],
    overwrite: bool,
    strict: bool,
) -> None:
    """Label the rows of SOURCE with the model of RUN, into the Zarr group OUT.

    OUT is a local path, and appears when all is written; called again, go on where it stopped.
    Blocks that cannot be read get the label -1 (NaN), and are named.
    """
    from dfmr_dask.command import finished  # noqa: PLC0415
    from dfmr_dask.command.config import pairs  # noqa: PLC0415
    from dfmr_dask.show.progress import progress  # noqa: PLC0415

    chosen = features[0] if len(features) == 1 else features or None
    given = pairs(options, "--storage-option")
    with progress() as emit:
        written = finished.predict(
            run, source, out, group=group, features=chosen, storage_options=given, what=what,
            overwrite=overwrite, strict=strict, emit=emit, say=_aside,
        )  # fmt: skip
    if written.unread:
        named = [f"  {where}: {why}" for where, why in list(written.unread.items())[:NAMED]]
        count = f"{len(written.unread)} of {written.blocks} blocks could not be read"
        more = ", the first are:" if len(written.unread) > NAMED else ":"
        _aside(_safe("\n".join([count + more, *named])))
    click.echo(str(out))


@commands.command()
@run_argument
@json_option
def show(run: Path, as_json: bool) -> None:
    """Show the summary of a finished RUN again."""
    from dfmr_dask.run.ledger import Ledger  # noqa: PLC0415

    show_summary(Ledger.open(run).summary(), as_json)


@commands.command()
@run_argument
@click.option("--out", type=click.Path(path_type=Path), help="Of the page; RUN/report.html.")
def report(run: Path, out: Path | None) -> None:
    """Write the report of a finished RUN again, as one HTML page, from its folder alone.

    RUN may be the folder of one of its aggregates, RUN/aggregates/NAME.
    """
    from dfmr_dask.show.html.page import write_report  # noqa: PLC0415

    click.echo(str(write_report(run, out)))


for command in (aggregate, select, shuffle, propose, agree, answer, fit_local):
    commands.add_command(command)


def _aside(text: str) -> None:
    click.echo(text, err=True)


def _check_made(settings: RunConfig, config: Path) -> None:
    if settings.simulate is not None and not Path(settings.source.path).exists():
        raise InvalidConfiguration(
            f"source.path: there is no {settings.source.path} yet; make it with "
            f"`dfmr simulate {config}`"
        )
