"""Settings of the property tests, how workers start, and the browser that tests of pages share."""

from __future__ import annotations

import dask
from distributed.utils import get_mp_context
from hypothesis import settings
from threadpoolctl import threadpool_limits

pytest_plugins = ["tests.browser"]

# Laws are searched at the same examples in every run, and no test depends on how fast it was.
settings.register_profile("laws", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("laws")

# Tests run beside each other, and some compare bits: how many threads share a product decides them.
threadpool_limits(limits=1, user_api="blas")

# Workers are forked from a process that has imported what they need: hundreds of them start in the
# course of the tests, and each would take seconds for it. Scripts that tests run start them anew.
dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
get_mp_context().set_forkserver_preload(["distributed", "dfmr_dask", "dfmr_dask.run.stages"])
