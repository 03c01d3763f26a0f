"""How alike images look, by their local features: to find where a way comes back to, and where two ways meet.

An image's signature is a VLAD (Jegou et al., Aggregating local descriptors into a compact image
representation, CVPR 2010), each word's part of unit norm (Arandjelovic and Zisserman, All about VLAD,
CVPR 2013).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from hyperpose_core.reconstruction.database import image_ids, opened, read_descriptors
from hyperpose_core.reconstruction.frames import FrameSet

FloatArray = npt.NDArray[np.float32]

_WORDS = 32
_ROUNDS = 10
_DESCRIPTORS_AN_IMAGE = 800
_TRAINING_DESCRIPTORS = 20_000
_TINY = 1e-9


def read_signatures(path: Path, frames: FrameSet) -> FloatArray:
    """Return the signatures [N, D], of unit norm, of the frames' images from their features in a database."""
    with opened(path) as database:
        ids = image_ids(database)
        descriptors = [_unit(_some(read_descriptors(database, ids[frame.name]))) for frame in frames.frames]
    words = _learn_words(np.concatenate(descriptors))
    watched = tqdm(descriptors, desc="comparing looks", unit="image")
    signatures = np.stack([_signature(values, words) for values in watched])
    # What all images have in common says nothing.
    signatures -= signatures.mean(axis=0)
    return np.asarray(signatures / np.maximum(np.linalg.norm(signatures, axis=1, keepdims=True), _TINY))


def _some(descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return descriptors[:: 1 + len(descriptors) // _DESCRIPTORS_AN_IMAGE]


def _unit(descriptors: npt.NDArray[np.uint8]) -> FloatArray:
    values = descriptors.astype(np.float32)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), _TINY))


def _learn_words(descriptors: FloatArray) -> FloatArray:
    generator = np.random.default_rng(0)
    training = descriptors[generator.permutation(len(descriptors))[:_TRAINING_DESCRIPTORS]]
    words = training[:_WORDS].copy()
    for _ in range(_ROUNDS):
        nearest = _nearest(training, words)
        for word in range(len(words)):
            if (members := training[nearest == word]).size:
                words[word] = members.mean(axis=0)
    return words


def _signature(descriptors: FloatArray, words: FloatArray) -> FloatArray:
    if not len(descriptors) or not len(words):
        return np.zeros(_WORDS * 128, dtype=np.float32)
    one_hot = (_nearest(descriptors, words)[np.newaxis] == np.arange(_WORDS)[:, np.newaxis]).astype(
        np.float32
    )
    sums = np.zeros((_WORDS, 128), dtype=np.float32)
    known = one_hot[: len(words)]
    sums[: len(words)] = known @ descriptors - known.sum(axis=1, keepdims=True) * words
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), _TINY)
    flat = sums.ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), _TINY), dtype=np.float32)


def _nearest(descriptors: FloatArray, words: FloatArray) -> npt.NDArray[np.int64]:
    return np.asarray((descriptors @ words.T - np.square(words).sum(axis=1) / 2.0).argmax(axis=1))
