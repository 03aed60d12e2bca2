"""One minute of `tests/soak`."""

import os

from soak import Soak


def test_a_minute_of_everything():
    Soak(60, os.environ.get("SLUICEGATE_SEED", "1")).run()
