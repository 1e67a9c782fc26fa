"""The state of a decoder of Prophesee's encodings between two blocks of words, and how a block may end.

The clock has a state of its own, in `formats/clock_wraps.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# How a block ended.
GOOD, UNKNOWN_WORD, OUTSIDE_SENSOR = range(3)

# The state between blocks: the number of events left out because their time was not known yet, then the state of the
# decoder, and the number of external triggers, which are no events of a pixel. A column that is not known yet is
# negative.
LEFT_OUT, HAS_CLOCK, HAS_LOW, HAS_ROW, LOW, ROW, BASE, SIGN, TRIGGERS = range(9)

# The type of a word with an edge of an external trigger, in EVT 2.0, 2.1 and 3.0.
TRIGGER = 0xA


def new_state() -> NDArray[np.int64]:
    """Return the initial state of a decoder, int64 (9,)."""
    state = np.zeros(9, np.int64)
    state[BASE] = -1
    return state
