"""What ``dfmr plan --sample`` does: find out which way a run would take, from samples alone."""

from __future__ import annotations

from dfmr_dask.command.jobs import Say, silent, tasks_for
from dfmr_dask.command.preparation import fit_settings, open_inputs
from dfmr_dask.command.schema import RunConfig
from dfmr_dask.run.events import Emit, ignore
from dfmr_dask.run.likeness import way_by_samples
from dfmr_dask.show.likeness_text import likeness_summary
from dfmr_dask.show.reading import Reading, plan_summary


def sampled_plan(config: RunConfig, *, emit: Emit = ignore, say: Say = silent) -> Reading:
    """Return the plan of a configuration, and the way that its run would take.

    Returns
    -------
    dict
        From :func:`~dfmr_dask.show.reading.plan_summary`, and ``likeness``, from
        :func:`~dfmr_dask.show.likeness_text.likeness_summary`: null where the plan leaves nothing
        to choose. ``taken`` is the plan of the partitions that would be fitted.

    Raises
    ------
    DfmrError
        As a run would.
    """
    inputs, settings = open_inputs(config), fit_settings(config)
    source, cluster = inputs.source, config.cluster
    with tasks_for(cluster, source.in_memory, say, config.waiting.waiting()) as tasks:
        way = way_by_samples(source, settings, tasks, emit, inputs.replacement)
    taken = source if way is None else way.source(source)
    return {
        **plan_summary(source),
        "likeness": likeness_summary(way, source.features),
        "taken": plan_summary(taken),
    }
