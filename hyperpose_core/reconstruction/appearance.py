"""How alike images look, by their local features: where a way comes back to, and where two ways meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from hyperpose_core.landmarks.appearance import learn_words, signature
from hyperpose_core.landmarks.matching import unit_descriptors
from hyperpose_core.reconstruction.database import image_ids, opened, read_descriptors
from hyperpose_core.reconstruction.frames import FrameSet

FloatArray = npt.NDArray[np.float32]

_DESCRIPTORS_AN_IMAGE = 800
_TINY = 1e-9


def read_signatures(path: Path, frames: FrameSet) -> FloatArray:
    """Return the signatures [N, D], of unit norm, of the frames' images from their features in a database."""
    with opened(path) as database:
        ids = image_ids(database)
        descriptors = [_some(read_descriptors(database, ids[frame.name])) for frame in frames.frames]
    words = learn_words(np.concatenate(descriptors))
    watched = tqdm(descriptors, desc="comparing looks", unit="image")
    signatures = np.stack([signature(unit_descriptors(values), words) for values in watched])
    # What all images have in common says nothing.
    signatures = signatures - signatures.mean(axis=0)
    return np.asarray(signatures / np.maximum(np.linalg.norm(signatures, axis=1, keepdims=True), _TINY))


def _some(descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return descriptors[:: 1 + len(descriptors) // _DESCRIPTORS_AN_IMAGE]
