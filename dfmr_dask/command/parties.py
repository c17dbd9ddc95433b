"""Commands of parties that do not trust each other: files in place of trust (docs/parties.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from dfmr_dask.command.terminal import json_option
from dfmr_dask.errors import DfmrError, InvalidConfiguration

Command = TypeVar("Command", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)

site_option = click.option("--site", required=True, help="Name of the site, as in --site A.")
out_option = click.option(
    "-o", "--out", type=FILE, default=Path(), help="File, or a folder for SITE....npz."
)
sites_option = click.option(
    "--site", "sites", multiple=True, help="A site that may take part; may be repeated."
)
close_option = click.option(
    "--close", is_flag=True, help="Go on without those who have not answered."
)


def rows_options(command: Command) -> Command:
    """Add what tells where the rows of a site lie, and what they mean."""
    for option in (
        click.option("--seed", type=int, help="Which rows are drawn; tell nobody."),
        click.option(
            "--unit", "units", multiple=True, metavar="FEATURE=UNIT",
            help="Where the data do not tell it; may be repeated.",
        ),
        click.option(
            "--storage-option", "options", multiple=True, metavar="KEY=VALUE",
            help="For the store, as in --storage-option anon=true; may be repeated.",
        ),
        click.option(
            "--missing-chunks", type=click.Choice(["fail", "fill"]), default="fail",
            show_default=True, help="What to do about chunks that are not in the store.",
        ),
        click.option(
            "--memory", "memory_per_worker", metavar="BYTES",
            help="As in --memory 2GiB: rows that do not fit are read block by block.",
        ),
        click.option("--sample-weight", help="Variable with the weights of rows."),
        click.option("--features", multiple=True, help="A variable; may be repeated."),
        click.option(
            "--features-from", "listed", type=FILE,
            help="A text file with the name of a variable, or of a variant, in each line.",
        ),
        click.option("--kind", type=click.Choice(["genotypes"]), help="SOURCE is VCF Zarr."),
        click.option("--group", help="Group in the store."),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("source")
@site_option
@click.option("--n-components", type=click.IntRange(1), required=True)
@click.option(
    "--family",
    default="gaussian",
    show_default=True,
    help="Of the components: gaussian, binomial, bernoulli, poisson or categorical.",
)
@click.option("--covariance-type", help="Of Gaussians: full, the default, tied, diag or spherical.")
@click.option("--n-trials", type=int, help="Of binomial counts; 2, the default, for genotypes.")
@click.option("--levels", multiple=True, type=int, help="Of each categorical column; repeated.")
@click.option("--tol", type=float, default=1e-6, show_default=True)
@click.option("--reg-covar", type=float, default=1e-6, show_default=True)
@click.option("--max-iter", type=click.IntRange(1), default=500, show_default=True)
@click.option("--outliers", type=float, help="Leave rows out that lie so many spreads away.")
@rows_options
@out_option
def propose(source: str, site: str, out: Path, **given: Any) -> None:
    """As a site: propose a start from a sample of the rows of SOURCE."""
    from dfmr_dask import parties  # noqa: PLC0415  (seconds to import; --help needs none of it)

    family = _family(
        {name: given.pop(name) for name in ("family", "covariance_type", "n_trials", "levels")}
    )
    with _asked():
        path = parties.propose(source, site=site, family=family, **_rows(given)).save(out)
    click.echo(str(path))
    _next(
        f"send {path.name} to the hub, and answer each ballot that comes back: "
        f"dfmr answer BALLOT {source} --site {site}"
    )


@click.command()
@click.argument("ballot", type=FILE)
@click.argument("source")
@site_option
@rows_options
@out_option
def answer(ballot: Path, source: str, site: str, out: Path, **given: Any) -> None:
    """As a site: answer BALLOT, from a sample of the rows of SOURCE."""
    from dfmr_dask import parties  # noqa: PLC0415

    said = parties.answer(ballot, source, site=site, **_rows(given))
    path = said.save(out)
    click.echo(str(path))
    after = f"; once it sends a start.npz: dfmr fit-local {source} --start start.npz --site {site}"
    _next(
        f"send {path.name} to the hub, and answer its next ballot likewise, if one comes"
        f"{'' if said.of.startswith('ballot-check') else after}"
    )


@click.command()
@click.argument("source")
@click.option("--start", type=FILE, required=True, help="The hub's start.npz.")
@site_option
@rows_options
@out_option
def fit_local(source: str, start: Path, site: str, out: Path, **given: Any) -> None:
    """As a site: fit all rows of SOURCE, from the start that was agreed."""
    from dfmr_dask import parties  # noqa: PLC0415

    path = parties.fit_local(source, start=start, site=site, **_rows(given)).save(out)
    click.echo(str(path))
    _next(
        f"send {path.name} to the hub, and answer the ballots of its check: "
        f"dfmr answer BALLOT {source} --site {site}"
    )


@click.command()
@click.argument("inbox", type=FILE)
@sites_option
@close_option
@json_option
def agree(inbox: Path, sites: tuple[str, ...], close: bool, as_json: bool) -> None:
    """As the hub: count the files in INBOX, and write the next ballot or the start into it."""
    from dfmr_dask import parties  # noqa: PLC0415

    found = parties.agree(inbox, sites=sites or None, close=close)
    ballot = found if isinstance(found, parties.Ballot) else None
    missing = () if ballot is None else ballot.missing
    told = {
        "file": str(found.save(inbox)),
        "agreed": ballot is None,
        "missing": list(missing),
        "rejected": dict(found.rejected),
    }
    click.echo(json.dumps(told) if as_json else told["file"])
    _tell(missing, found.rejected)
    if ballot is None:
        _next(
            f"send {told['file']} to all sites, for dfmr fit-local; put their files into {inbox}; "
            f"then dfmr aggregate {inbox}"
        )
    else:
        _next(_asks(ballot, inbox, "agree"))


def aggregate_inbox(
    inbox: Path, *, sites: tuple[str, ...], close: bool, check: bool, as_json: bool,
    changes: Mapping[str, Any],
) -> None:  # fmt: skip
    """Merge the fits in an inbox, and write model, verdict and the next ballot of the check."""
    from dfmr_dask import parties  # noqa: PLC0415

    with _asked():
        found = parties.aggregate(inbox, sites=sites or None, close=close, check=check, **changes)
    model, told = found.save(inbox), found.plain
    click.echo(json.dumps({"model": str(model), **told}) if as_json else f"{found.text}\n{model}")
    ballot, waiting = found.ballot, found.waiting if check and not found.checked else ()
    _tell(waiting if ballot is None else ballot.missing, found.rejected)
    if ballot is not None:
        _next(_asks(ballot, inbox, "aggregate"))
    elif waiting:
        _next(f"run dfmr aggregate {inbox} again when fits have come; then sites check the model")
    else:
        _next(f"the model stands: dfmr_dask.read_mixture({str(model)!r}) reads it")


def _asks(ballot: Any, inbox: Path, command: str) -> str:
    """Say to whom a ballot goes, and what is done with their answers."""
    return (
        f"send {inbox / ballot.name} to {', '.join(ballot.missing)}, for dfmr answer; put their "
        f"files into {inbox}; then dfmr {command} {inbox} again"
    )


def _next(step: str) -> None:
    """Say on standard error what comes next, so that scripts read paths and nothing else."""
    click.echo(f"next: {step}", err=True)


@contextmanager
def _asked() -> Iterator[None]:
    """Say of values that are out of range that the command line was not understood."""
    try:
        yield
    except DfmrError:
        raise
    except ValueError as error:
        raise InvalidConfiguration(str(error)) from error


def _tell(missing: tuple[str, ...], rejected: Mapping[str, str]) -> None:
    """Say on standard error who is waited for, and what was wrong with which file."""
    for name, why in sorted(rejected.items()):
        click.echo(f"rejected {name}: {why}", err=True)
    if missing:
        click.echo(f"waiting for {', '.join(missing)}; --close goes on without them", err=True)


def _family(told: Mapping[str, Any]) -> Any:
    """Return the family that options tell of, or say which of them do not fit."""
    from pydantic import ValidationError  # noqa: PLC0415

    from dfmr_dask.command.complaints import complaints  # noqa: PLC0415
    from dfmr_dask.command.components import ComponentsSection  # noqa: PLC0415

    given = {name: value for name, value in told.items() if value not in (None, ())}
    if given["family"] == "product":
        raise InvalidConfiguration(
            "--family product: its parts are told in Python, dfmr_dask.propose(..., family=Product("
            "((Poisson(), 2), (DiagonalGaussian(), 1))))"
        )
    try:
        section = ComponentsSection(**given)
    except ValidationError as error:
        raise InvalidConfiguration(
            "\n".join(complaints(ComponentsSection, error.errors()))
        ) from error
    return section.components()


def _rows(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that Python calls by other names."""
    from dfmr_dask.command.config import pairs  # noqa: PLC0415

    said = dict(given)
    units, options, features = (said.pop(name) for name in ("units", "options", "features"))
    features = [*features, *_listed(said.pop("listed"))]
    return {
        **said,
        "units": {name: str(unit) for name, unit in pairs(units, "--unit").items()},
        "features": features or None,
        "storage_options": pairs(options, "--storage-option") or None,
    }


def _listed(file: Path | None) -> list[str]:
    """Return the names that stand in the lines of a file."""
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidConfiguration(f"--features-from {file} cannot be read: {error}") from error
    return [line.strip() for line in lines if line.strip()]
