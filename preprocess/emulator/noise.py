"""The noise of emulated recordings, in events per second and pixel.

Hard gestures have a multiple of it (`difficulty.py`); `sensor.py` draws the events.
"""

from __future__ import annotations

# Spontaneous ON events.
LEAK_HZ = 0.1

# Shot noise, of either polarity: of gestures and cues by the lighting condition, and the range from which that of each
# recording of a digit is drawn.
SHOT_HZ = {"fluorescent": 0.3, "fluorescent_led": 0.2, "lab": 0.4, "led": 0.15, "natural": 0.25}
DIGITS_SHOT_HZ = (0.2, 0.6)
