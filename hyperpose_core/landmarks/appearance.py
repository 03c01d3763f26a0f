"""Finds the map images that look like an image by their local features alone, without a network.

An image's signature is a VLAD (Jegou et al., Aggregating local descriptors into a compact image
representation, CVPR 2010): per visual word the sum of its descriptors' differences from the word, each word's
sum of unit norm (Arandjelovic and Zisserman, All about VLAD, CVPR 2013). A map image's descriptors are its
landmarks'.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.landmarks.landmark_map import LandmarkMap
from hyperpose_core.landmarks.matching import FloatArray, IndexArray, unit_descriptors

_WORDS = 32
_TRAINING_DESCRIPTORS = 10_000
_TRAINING_ROUNDS = 12
_DIMENSIONS = 256
_MOST_TRAINING_IMAGES = 1024
# Where a word is its only descriptor, the difference is rounding.
_SMALLEST_SUM = 1e-3
_TINY = 1e-9


class AppearanceIndex:
    """The signatures of a map's images."""

    def __init__(self, content: LandmarkMap) -> None:
        """Learn the words and compute the signatures; the same map always gives the same."""
        self._scenes = content.images.scenes
        self._words = learn_words(content.landmarks.descriptors)
        signatures = np.stack(
            [
                signature(unit_descriptors(content.landmarks.descriptors[content.observations.of_image(index)]),
                          self._words)
                for index in range(len(content.images))
            ]
        )  # fmt: skip
        self._mean, self._axes = _principal_axes(signatures)
        self._signatures = self._reduced(signatures)

    def nearest(self, descriptors: FloatArray, scene: int | None, count: int) -> IndexArray:
        """Return the map images that look most alike, best first.

        Args:
            descriptors: the image's unit descriptors [N, 128].
            scene: only images of this scene; None for all.
            count: at most so many.
        """
        known = np.flatnonzero((self._scenes == scene) | (scene is None))
        wanted = self._reduced(signature(descriptors, self._words)[np.newaxis])[0]
        return known[np.argsort(-(self._signatures[known] @ wanted), kind="stable")[:count]]

    def _reduced(self, signatures: FloatArray) -> FloatArray:
        values = (signatures - self._mean) @ self._axes
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), _TINY))


def learn_words(descriptors: npt.NDArray[np.uint8]) -> FloatArray:
    """Return visual words [W, 128]: k-means centres of descriptors in bytes [N, 128], always the same.

    Raises:
        HyperPoseError: there is no descriptor.
    """
    if not len(descriptors):
        raise HyperPoseError("no features in any image: too dark, blurred or blank")
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(descriptors))[:_TRAINING_DESCRIPTORS]
    training = unit_descriptors(descriptors[chosen])
    words = training[:_WORDS].copy()
    for _ in range(_TRAINING_ROUNDS):
        nearest = _nearest_words(training, words)
        for word in range(len(words)):
            members = training[nearest == word]
            words[word] = members.mean(axis=0) if len(members) else words[word]
    return words


def signature(descriptors: FloatArray, words: FloatArray) -> FloatArray:
    """Return the signature [W * 128], of unit norm, of an image's unit descriptors [N, 128]."""
    nearest = _nearest_words(descriptors, words)
    one_hot = (nearest[np.newaxis] == np.arange(len(words))[:, np.newaxis]).astype(np.float32)
    sums = one_hot @ descriptors - one_hot.sum(axis=1, keepdims=True) * words
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), _SMALLEST_SUM)
    flat = sums.ravel()
    return np.asarray(flat / max(float(np.linalg.norm(flat)), _TINY), dtype=np.float32)


def _nearest_words(descriptors: FloatArray, words: FloatArray) -> IndexArray:
    return np.asarray((descriptors @ words.T - np.square(words).sum(axis=1) / 2.0).argmax(axis=1))


def _principal_axes(signatures: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the mean [D] and the axes [D, K] along which signatures [M, D] differ most, in equal parts."""
    training = signatures[:: max(1, len(signatures) // _MOST_TRAINING_IMAGES)]
    mean = training.mean(axis=0)
    _, lengths, axes = np.linalg.svd(training - mean, full_matrices=False)
    kept = min(_DIMENSIONS, int((lengths > 1e-3 * lengths[:1].sum()).sum()))
    # Half whitening: directions that all images share weigh less, noise is not blown up.
    return mean, (axes[:kept] / np.sqrt(np.maximum(lengths[:kept, np.newaxis], _TINY))).T
