"""What a map holds, for people."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hyperpose_core.landmarks.landmark_map import LandmarkMap


def describe_map(content: LandmarkMap, path: Path) -> str:
    """Return what a map holds, one line a fact.

    Args:
        content: the map.
        path: its file.
    """
    rows = [
        ("map", f"{path}, {path.stat().st_size / 1e6:.1f} MB"),
        ("world", content.world.description or "not described"),
        *_scenes(content),
        *_cameras(content),
        ("landmarks", _landmarks(content)),
        ("observations", _observations(content)),
        ("network features", _network_features(content)),
        *((f"source: {name}", text) for name, text in _flat(content.source)),
        *((name.replace("_", " "), text) for name, text in _flat(content.statistics)),
        *(
            (f"calibration: {name.replace('_', ' ')}", text)
            for name, text in _flat(content.calibration or {})
        ),
    ]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)


def _scenes(content: LandmarkMap) -> list[tuple[str, str]]:
    images = np.bincount(content.images.scenes, minlength=len(content.scenes))
    landmarks = np.bincount(content.landmarks.scenes, minlength=len(content.scenes))
    return [
        (f"scene {name}", f"{images[index]:,} images, {landmarks[index]:,} landmarks")
        for index, name in enumerate(content.scenes)
    ]


def _cameras(content: LandmarkMap) -> list[tuple[str, str]]:
    return [
        (
            "camera",
            f"{camera.width}x{camera.height}, fx {camera.fx:.1f}, fy {camera.fy:.1f}, cx {camera.cx:.1f}, "
            f"cy {camera.cy:.1f}" + (f", distortion {list(camera.distortion)}" if camera.distortion else ""),
        )
        for camera in content.cameras
    ]


def _landmarks(content: LandmarkMap) -> str:
    if not len(content.landmarks):
        return "none"
    deviations = np.sqrt(content.landmarks.position_covariances[:, [0, 3, 5]].sum(axis=1))
    return (
        f"{len(content.landmarks):,}, standard deviation {np.median(deviations):.3f} m (median), seen from "
        f"{np.median(content.landmarks.distance_ranges[:, 0]):.1f} to "
        f"{np.median(content.landmarks.distance_ranges[:, 1]):.1f} m (medians)"
    )


def _observations(content: LandmarkMap) -> str:
    pixels = "with" if content.observations.pixels is not None else "without"
    return f"{len(content.observations):,}, {pixels} pixels"


def _network_features(content: LandmarkMap) -> str:
    features = content.images.network_features
    return "none" if features is None else f"{features.shape[1]} numbers an image"


def _flat(document: object, prefix: str = "") -> list[tuple[str, str]]:
    """Return the leaves of a JSON document with their paths, numbers shortened, without lists."""
    if isinstance(document, list):
        return []
    if isinstance(document, dict):
        return [row for name, value in document.items() for row in _flat(value, f"{prefix} {name}".strip())]
    return [(prefix.replace("_", " "), f"{document:.4g}" if isinstance(document, float) else str(document))]
