"""What a network sees in a map's images, kept in the map: localisation finds images that look alike by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.inference.estimator import PoseEstimator
from hyperpose_core.landmarks.landmark_map import NETWORK_KEY, LandmarkMap
from hyperpose_core.landmarks.view_graph import Progress


def with_network_features(
    content: LandmarkMap, images: Sequence[PosedImage], estimator: PoseEstimator, progress: Progress
) -> LandmarkMap:
    """Return the map with the features that a network computes of its images.

    Args:
        content: the map.
        images: those it was built from, in its order.
        estimator: the network.
        progress: shows how far it is.

    Raises:
        HyperPoseError: the network gives no features, or an image is unreadable.
    """
    rows = []
    for image in cast("Sequence[PosedImage]", progress(images, "computing network features", len(images))):
        predictions, _ = estimator.predict(estimator.preprocess(image.read())[None])
        rows.append(predictions.features[0])
    features = np.array(rows, dtype=np.float64)
    if not features.shape[1]:
        raise HyperPoseError(f"a {estimator.checkpoint.architecture} network gives no features of images")
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    return replace(
        content,
        images=replace(content.images, network_features=features.astype(np.float16)),
        source={**content.source, NETWORK_KEY: estimator.checkpoint.network_digest},
    )
