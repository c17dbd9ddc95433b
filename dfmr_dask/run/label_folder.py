"""Where labels are while they are written: a folder that tells what they are of, and who writes.

.labels.zarr.partial/.lock         who works here
.labels.zarr.partial/begun.json    model, source and questions; written when the group is laid out
.labels.zarr.partial/<sha256>/     the group; a worker of an earlier call that still lives can
                                   write into no other one
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dfmr_dask.data.files import plain, read_json, write_json
from dfmr_dask.data.source import Source
from dfmr_dask.errors import DfmrError, InvalidSource, LabelsDiffer, LabelsUnfinished
from dfmr_dask.mixture import Mixture, described
from dfmr_dask.run.label_blocks import Blocks
from dfmr_dask.run.labelling import Question
from dfmr_dask.run.lock import LOCK, locked
from dfmr_dask.run.places import check_place
from dfmr_dask.run.record import without_credentials

BEGUN = "begun.json"
OURS = "dfmr_sha256"  # the attribute that tells labels from other groups, and from other labels
LARGEST_JSON = 1 << 26


def digest_of(told: Mapping[str, Any]) -> str:
    """Return the SHA-256 of plain values, in one order."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def begin(working: Path, told: Mapping[str, Any]) -> None:
    """Write down that a group is laid out, and for what."""
    write_json(working / BEGUN, {"sha256": digest_of(told), "what": told})


def told_of(
    mixture: Mixture, source: Source, questions: Sequence[Question], blocks: Blocks
) -> dict[str, Any]:
    """Return plain values that differ when other answers would be written."""
    from dfmr_dask import __version__  # noqa: PLC0415  (the package imports this module)

    model = hashlib.sha256(json.dumps(described(mixture), sort_keys=True).encode())
    for array in (mixture.weights, *(mixture.params[name] for name in sorted(mixture.params))):
        model.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    about = {k: v for k, v in source.description.items() if k not in ("plan", "weight")}
    told = {
        "version": __version__,
        "model": model.hexdigest(),
        "source": without_credentials(about),
        "answers": [question.name for question in questions],
        "blocks": list(blocks.lengths),
    }
    return dict(json.loads(json.dumps(plain(told))))


@contextmanager
def working_in(working: Path) -> Iterator[None]:
    """Hold the working folder; remove it when nothing is left to do in it."""
    if working.is_symlink():
        raise InvalidSource(f"{working} is a link; remove it, or choose another place")
    if working.exists() and not (working / LOCK).is_file() and any(working.iterdir()):
        raise InvalidSource(f"{working} holds something else; remove it, or choose another place")
    with locked(working):
        try:
            yield
        except KeyboardInterrupt as error:
            error.add_note(f"What is written of the labels is in {working}: call again to go on.")
            raise
        except OSError as error:
            raise LabelsUnfinished(
                f"labels could not be written to their end: {error}. What there is of them is kept "
                f"in {working}: call again to go on, when the cause is gone"
            ) from error
        shutil.rmtree(working, ignore_errors=True)  # what is left is no answer


def check_path(path: Path) -> None:
    """Raise unless labels can be written at a path: before a cluster is started.

    Raises
    ------
    InvalidSource
        When it is a URL.
    OSError
        When nothing can be written there.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise InvalidSource(
            f"{path} is a URL; labels are written to a local or shared disk, since they get their "
            "name in one step when they are whole. Write them there, and copy the group"
        )
    check_place(path)


def finished_before(path: Path, digest: str) -> dict[str, Any]:
    """Return the attributes of the group that is there, if it is the one that is wanted."""
    about = _written_by_us(path)
    if about.get(OURS) != digest:
        raise InvalidSource(
            f"{path} is there already, and holds something else; remove it, choose another path, "
            "or replace labels with --overwrite"
        )
    return about


def _written_by_us(path: Path) -> dict[str, Any]:
    """Return the attributes of a group of labels; nothing of anything else."""
    try:
        about = read_json(path / "zarr.json", LARGEST_JSON)["attributes"]
    except (DfmrError, OSError, KeyError, TypeError):
        return {}
    return about if isinstance(about, dict) and OURS in about else {}


def check_replaced(path: Path) -> None:
    """Raise unless what is at a path may be replaced: nothing, or labels."""
    if path.is_symlink() or (path.exists() and not _written_by_us(path)):
        raise InvalidSource(
            f"{path} holds something else than labels of this package, so --overwrite does not "
            "replace it; choose another path"
        )


def goes_on(working: Path, told: Mapping[str, Any], overwrite: bool) -> bool:
    """Tell whether answers were begun that can be gone on with; else make room for new ones."""
    if (working / BEGUN).is_file() and not overwrite:
        begun = read_json(working / BEGUN, LARGEST_JSON)
        if begun.get("sha256") == digest_of(told):
            return True
        before = _flat(begun.get("what", {}))
        differing = [key for key, value in _flat(told).items() if before.get(key) != value]
        raise LabelsDiffer(
            f"{working} holds unfinished labels that differ in {', '.join(differing) or 'kind'}. "
            "Give what they were begun with, or begin anew with --overwrite"
        )
    (working / BEGUN).unlink(missing_ok=True)  # first, so that what is half removed is not gone on
    for entry in working.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
    return False


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    out = {key: value for key, value in told.items() if key != "source"}
    return out | {f"source.{key}": value for key, value in dict(told.get("source", {})).items()}
