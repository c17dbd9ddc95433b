"""Labels, posteriors and log densities of all rows of a source, block by block in a Zarr group.

Blocks are written by the tasks that read them, into a group with a working name (see
``label_folder.py``). There is no journal. Each file of the group is flushed to the disk under a
temporary name and then renamed, 4 ms or so for a block of 32 MB; so a block whose files are there
is done, whatever was killed, and whatever lost its power. A journal would have to be flushed, too,
and could contradict the files. The group gets its name when all blocks are there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr

from dfmr_dask.data.features import Expected, positions
from dfmr_dask.data.files import flush_folder
from dfmr_dask.data.readers import READ_BYTES
from dfmr_dask.data.remote import without_secrets
from dfmr_dask.data.source import Source
from dfmr_dask.data.stores import LastingStore, finish_group, write_template
from dfmr_dask.errors import InvalidSource, LabelsUnfinished
from dfmr_dask.mixture import Mixture
from dfmr_dask.run.events import Emit, Event, ignore
from dfmr_dask.run.label_blocks import (
    Answered,
    Blocks,
    Job,
    answer_blocks,
    answer_bytes,
    blocks_of,
    box_reader,
)
from dfmr_dask.run.label_folder import (
    OURS,
    begin,
    check_path,
    check_replaced,
    digest_of,
    finished_before,
    goes_on,
    told_of,
    working_in,
)
from dfmr_dask.run.labelling import LABEL, Question, field
from dfmr_dask.run.tasks import Failure, InProcess, Tasks

AT_ONCE = 1000  # tasks that a scheduler holds; and so soon a full disk ends it all
LARGE = 1 << 20  # bytes of a coordinate that is written block by block, too
MANY = 10_000  # blocks; of more, several share a task
TOLD = 1000  # unread blocks that the group's attributes name
LONGEST = 300  # characters of a reason
Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Attributes
    ----------
    path : Path
    blocks : int
        Into which the rows were cut.
    unread : dict of str to str
        Where the blocks lie that could not be read, and why not; their rows have the label -1,
        and posteriors and log densities of NaN.
    """

    path: Path
    blocks: int
    unread: Mapping[str, str]


def write_answers(
    path: Path,
    mixture: Mixture,
    source: Source,
    tasks: Tasks,
    questions: Sequence[Question] = (LABEL,),
    *,
    emit: Emit = ignore,
    overwrite: bool = False,
    strict: bool = False,
    block_bytes: int = READ_BYTES,
) -> Written:
    """Answer questions about every row of a source, into a Zarr group on the source's grid.

    Parameters
    ----------
    path : Path
        Of the group, on a disk that all workers see. It appears when it is whole; until then a
        folder ``.<name>.partial`` stands beside it, and a second call goes on there. A group
        of the same answers that is whole already is left as it is.
    mixture : Mixture
    source : Source
        Its features in the order of the mixture's.
    tasks : Tasks
    questions : sequence of Question
        All are answered from one pass over the rows.
    emit : callable
        Told how many blocks are done.
    overwrite : bool
        Begin anew, and in the end replace what this function wrote there before.
    strict : bool
        Raise when a block cannot be read.
    block_bytes : int
        Of rows, and of answers, in a block; larger where chunks of the source are.

    Returns
    -------
    Written

    Raises
    ------
    InvalidSource
        When something else is at ``path`` or it is a URL, features do not fit, rows are uncounted
        (``dask.dataframe``), or no block at all can be read.
    LabelsDiffer
        When unfinished answers there are of another model, source, version or other questions.
    LabelsUnfinished
        When nothing more can be written, or ``strict`` and a block cannot be read.
    FolderBusy
        When another process writes the same.
    OSError
        When nothing can be written at ``path``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, xarray as xr
    >>> from dfmr_dask import open_source
    >>> from dfmr_dask.families import DiagonalGaussian
    >>> from dfmr_dask.mixture import Mixture
    >>> from dfmr_dask.run.label_store import write_answers
    >>> from dfmr_dask.run.tasks import InProcess
    >>> mixture = Mixture(DiagonalGaussian(), [0.5, 0.5],
    ...                   {"means": [[-1.0], [1.0]], "variances": [[1.0], [1.0]]})
    >>> source = open_source(np.array([[-2.0], [np.nan], [3.0]]))
    >>> with tempfile.TemporaryDirectory() as place:
    ...     path = pathlib.Path(place, "labels.zarr")
    ...     write_answers(path, mixture, source, InProcess()).blocks
    ...     xr.open_zarr(path, mask_and_scale=False)["label"].values
    1
    array([ 0, -1,  1], dtype=int16)
    """
    check_path(path)
    positions(source.features, source.named, Expected(mixture.n_features))
    view = source.as_dataarray()
    blocks = blocks_of(source, view, answer_bytes(questions, mixture.n_components), block_bytes)
    told = told_of(mixture, source, questions, blocks)
    digest = digest_of(told)
    working = path.with_name(f".{path.name}.partial")
    if path.exists() and not overwrite:
        about = finished_before(path, digest)
        return Written(path, about["dfmr_blocks"], json.loads(about["dfmr_unread"]))
    if overwrite:
        check_replaced(path)
    with working_in(working):
        job = Job(mixture, tuple(questions), working / digest[:16])
        if goes_on(working, told, overwrite):
            emit(Event("label", 0, len(blocks), text="going on"))
        else:
            _lay_out(job, view, blocks)
            begin(working, told)
        unread = _answer_all(job, source, blocks, tasks, emit)
        written = Written(path, len(blocks), _texts(source, blocks, unread))
        _check_read(written, strict, working)
        _finish(job, blocks, written, unread, digest)
    return written


def _lay_out(job: Job, view: xr.DataArray, blocks: Blocks) -> None:
    """Write everything but the answers: dimensions, coordinates, attributes."""
    variables, chunks = {}, {}
    for question in job.questions:
        wide = (job.mixture.n_components,) * question.wide
        empty: Any = da.zeros((*blocks.shape, *wide), dtype=question.dtype, chunks=-1)
        one = field(question, job.mixture, view, empty)
        one.encoding["_FillValue"] = np.dtype(question.dtype).type(question.bad)
        variables[question.name], chunks[question.name] = one, (*blocks.lengths, *wide)
    dataset = xr.Dataset(variables).drop_vars("feature", errors="ignore")
    lengths = dict(zip(view.dims, blocks.lengths, strict=False))
    large = {
        name: one.chunk({dim: lengths[dim] for dim in one.dims})
        for name, one in dataset.coords.items()
        if one.chunks is not None or (name not in dataset.indexes and one.nbytes > LARGE)
    }
    write_template(LastingStore(job.folder), dataset.assign_coords(large), chunks)


def _answer_all(
    job: Job, source: Source, blocks: Blocks, tasks: Tasks, emit: Emit
) -> dict[Place, str]:
    """Answer the blocks that are not there yet, and return why some could not be read."""
    todo = [place for place in blocks if not job.is_done(place)]
    done, unread, shared = len(blocks) - len(todo), dict[Place, str](), tasks.share(job)
    share = math.ceil(len(todo) / MANY)
    for again in (True, False):  # what a dead worker took along is tried once more, each alone
        lost = []
        for place, came in _outcomes(shared, source, blocks, _runs(todo, share), tasks):
            if isinstance(came, Failure) and again:
                lost.append(place)
                continue
            if reason := _why_unread(came):
                unread[place] = without_secrets(reason)[:LONGEST]
            done += 1
            emit(Event("label", done, len(blocks), len(unread)))
        todo, share = lost, 1
    return unread


def _runs(todo: Sequence[Any], length: int) -> list[Sequence[Any]]:
    return [todo[i : i + length] for i in range(0, len(todo), max(1, length))]


def _outcomes(
    shared: Any, source: Source, blocks: Blocks, todo: Sequence[Sequence[Place]], tasks: Tasks
) -> Iterator[tuple[Place, Answered | Failure]]:
    """Yield what became of each block, as tasks return."""
    token = uuid4().hex  # a second call must not get the answers of the first one
    # in this process a task is done once it is submitted, and whoever watches wants to know
    for wave in _runs(list(enumerate(todo)), 1 if isinstance(tasks, InProcess) else AT_ONCE):
        handles = {}
        for number, places in wave:
            boxes = [blocks.box(place) for place in places]
            readers = [box_reader(source, box) for box in boxes]
            key = (token, number)
            handles[number] = tasks.submit("label", key, answer_blocks, shared, boxes, *readers)
        for number, came in tasks.results(handles):
            each = [came] * len(todo[number]) if isinstance(came, Failure) else came
            yield from zip(todo[number], each, strict=True)


def _why_unread(came: Answered | Failure) -> str:
    """Return why a block could not be read, if so; raise when answers cannot be written."""
    if isinstance(came, Failure):
        return came.reason
    if came.unwritten:
        raise OSError(came.unwritten)
    return came.unread


def _check_read(written: Written, strict: bool, working: Path) -> None:
    if not written.unread or (len(written.unread) < written.blocks and not strict):
        return
    (where, why), *_ = written.unread.items()
    told = f"{len(written.unread)} of {written.blocks} blocks could not be read; {where}: {why}"
    if len(written.unread) == written.blocks:  # it is not the chunks that are bad, then
        raise InvalidSource(f"{told}. Nothing was labelled")
    raise LabelsUnfinished(
        f"{told}. All others are in {working}: call again to try these once more, or without "
        "--strict to leave them without labels"
    )


def _finish(
    job: Job, blocks: Blocks, written: Written, unread: Mapping[Place, str], digest: str
) -> None:
    """Give the group its name.

    Blocks that could not be read have no files: their rows read as the fill value, and whoever
    looks for missing chunks finds what is missing.
    """
    if any(not job.is_done(place) and place not in unread for place in blocks):
        raise LabelsUnfinished(f"blocks have gone from {job.folder}; call again")
    for stray in job.folder.rglob(".*.tmp"):  # of writers that were killed
        stray.unlink()
    about = {
        OURS: digest,
        "dfmr_blocks": len(blocks),
        "dfmr_unread_blocks": len(unread),
        "dfmr_unread": json.dumps(dict(list(written.unread.items())[:TOLD])),  # NetCDF takes texts
    }
    finish_group(LastingStore(job.folder), about)
    if written.path.exists():  # whole answers of before, that are to be replaced
        written.path.rename(job.folder.with_name("replaced"))
    job.folder.rename(written.path)
    flush_folder(written.path.parent)


def _texts(source: Source, blocks: Blocks, unread: Mapping[Place, str]) -> dict[str, str]:
    """Return the reasons with their places as people read them: ``time 0:10, lat 0:50``."""
    return {
        ", ".join(
            f"{dim} {start}:{stop}"
            for dim, (start, stop) in zip(source.sample_dims, blocks.box(place), strict=True)
        ): reason
        for place, reason in sorted(unread.items())
    }
