"""What is to be said before a training begins: what becomes of the images, and what is held out of it."""

from __future__ import annotations

from hyperpose_core.images import Preprocessing
from hyperpose_core.training.samples import Samples


def opening_notes(samples: Samples, preprocessing: Preprocessing) -> list[str]:
    """Return sentences, one a line."""
    return [preprocessing.describe(*samples.image_size)]
