"""What a trained network predicts for one sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """The prediction of a network for one sample.

    Attributes:
        label: Number of the predicted class.
        name: Name of the predicted class.
        confidence: Softmax of the mean logits for the predicted class; not calibrated.
        logits: Mean of the logits over the time steps that count, float32, shape (classes,).
    """

    label: int
    name: str
    confidence: float
    logits: NDArray[np.float32]
