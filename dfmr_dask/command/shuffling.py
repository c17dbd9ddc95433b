"""``dfmr shuffle``: rows dealt at random into a new store, for chunks that are not alike."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--chunk-rows", type=click.IntRange(1), help="Rows in a chunk of OUT.")
@click.option(
    "--memory", default="512MiB", show_default=True, help="What rows may take of it at once."
)
@click.option("--features", multiple=True, help="A variable, or the dimension; may be repeated.")
@click.option("--group", help="Group in the store.")
@click.option("--sample-weight", help="Variable with the weights of rows; it goes with them.")
@click.option(
    "--storage-option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="For the store, as in --storage-option anon=true; may be repeated.",
)
@click.option(
    "--missing-chunks",
    type=click.Choice(["fail", "fill"]),
    default="fail",
    show_default=True,
    help="Whether chunks that are not there are an error, or the fill value.",
)
def shuffle(
    source: str,
    out: Path,
    seed: int,
    chunk_rows: int | None,
    memory: str,
    features: tuple[str, ...],
    group: str | None,
    sample_weight: str | None,
    options: tuple[str, ...],
    missing_chunks: str,
) -> None:
    """Write the rows of SOURCE in random order into the new Zarr store OUT.

    Each chunk of OUT is then a random sample of all rows, and can be a partition. OUT is a local
    path, and appears when all is written. A chunk that cannot be read ends it, and is named.
    """
    from dfmr_dask.command.config import pairs  # noqa: PLC0415  (seconds to import)
    from dfmr_dask.data.shuffle import shuffled  # noqa: PLC0415
    from dfmr_dask.data.source import open_source  # noqa: PLC0415
    from dfmr_dask.run.events import Event  # noqa: PLC0415
    from dfmr_dask.show.progress import progress  # noqa: PLC0415

    opened = open_source(
        source,
        features=features[0] if len(features) == 1 else list(features) or None,
        group=group,
        storage_options=pairs(options, "--storage-option") or None,
        sample_weight=sample_weight,
        missing_chunks=missing_chunks,
    )
    with progress() as emit:
        written = shuffled(
            opened, out, seed=seed, chunk_rows=chunk_rows, memory=memory,
            progress=lambda done, total: emit(Event("shuffle", done, total)),
        )  # fmt: skip
    click.echo(str(written))
