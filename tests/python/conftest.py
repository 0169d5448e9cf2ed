# SPDX-License-Identifier: Apache-2.0
# Copyright the ringfeed authors
"""What several tests of this folder start."""
import os

import pytest


@pytest.fixture(scope="module")
def maker():
    """A make-rows with the limits of a feed; RINGFEED_MAKE_ROWS names the program."""
    import make_rows  # here, because not every test of this folder needs NumPy
    m = make_rows.Maker(os.environ["RINGFEED_MAKE_ROWS"])
    m.limits()
    yield m
    m.close()
