"""Settings of the property tests, and the browser that tests of pages share."""

from __future__ import annotations

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

pytest_plugins = ["tests.browser"]

# Laws are searched at the same examples in every run, and no test depends on how fast it was.
settings.register_profile("laws", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("laws")

# Tests run beside each other, and some compare bits: how many threads share a product decides them.
threadpool_limits(limits=1, user_api="blas")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Studies take as long as they take; anything else that takes so long hangs."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0))
