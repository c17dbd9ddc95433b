"""What can go wrong, by name: each message says what came, what was wanted, what to do next."""

from __future__ import annotations


class DfmrError(Exception):
    """Base of the errors that are the package's own."""


class InvalidMixture(DfmrError, ValueError):
    """Weights or parameters that are no mixture: shapes, signs, symmetry, definiteness."""


class InvalidMessage(DfmrError, ValueError):
    """A message or file that does not say what a partition's message must say."""


class DegenerateRows(DfmrError, ValueError):
    """Rows that cannot carry a fit: too few of them, or a column that is constant."""


class InvalidSource(DfmrError, ValueError):
    """Data that cannot be opened or are not rows of numbers."""


class InvalidConfiguration(DfmrError, ValueError):
    """A configuration with an unknown key or a value out of range."""


class TooFewMessages(DfmrError, RuntimeError):
    """Half of the partitions, or more, gave no usable fit."""


class AggregationFailed(DfmrError, RuntimeError):
    """Messages that an aggregator cannot merge into a mixture."""


class RunFolderExists(DfmrError, FileExistsError):
    """A run folder that holds something already."""


class RunUnfinished(DfmrError, RuntimeError):
    """A run folder without the mark of a finished run."""


class RunDiffers(RunFolderExists):
    """A run folder that was begun with another source, other settings or another version."""


class FolderBusy(DfmrError, RuntimeError):
    """A folder that another process writes in."""


class WorkersDiffer(DfmrError, RuntimeError):
    """Dask workers that lack the package or hold another version of it."""


class ClusterFailed(DfmrError, RuntimeError):
    """A local cluster whose processes do not start."""


class SchedulerLost(ClusterFailed):
    """A scheduler that is gone in the middle of a run, or that has forgotten it."""


class UncertifiedWarning(UserWarning):
    """The majority assumption could not be checked, or the filter found a reason to doubt it."""


class UnreadableChunk(DfmrError, RuntimeError):
    """A chunk of a store that is missing, cut short, or cannot be read or decoded: its key."""


class SourceChanged(DfmrError, RuntimeError):
    """A store whose arrays are no longer those that were planned."""


class InvalidExchange(DfmrError, ValueError):
    """Files of an exchange between sites that do not belong together, or a site's rows that do not.

    The files of others are never an error: what is wrong with them is told, and the rest goes on.
    """


class ExchangeWaits(DfmrError, RuntimeError):
    """An exchange between sites that cannot go on before more of them have sent their files."""


class TooLittleMemory(DfmrError, ValueError):
    """A plan that takes more memory than a worker has."""


class LabelsUnfinished(DfmrError, RuntimeError):
    """Labels that could not be written to their end; what there is of them is kept."""


class LabelsDiffer(DfmrError, RuntimeError):
    """Unfinished labels of another model or other data."""


class NoStandardErrors(DfmrError, ValueError):
    """A mixture, or a function of it, that nothing tells how sure it is."""


class InvalidEvent(DfmrError, ValueError):
    """A line that is no event of a run."""
