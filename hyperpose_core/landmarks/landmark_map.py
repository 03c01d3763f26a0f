"""A landmark map: what can be seen where, from which places, in one self-describing file.

A `.safetensors` file with whatever name, whose metadata holds the format version and one JSON document. It is
read into memory of the process that loads it: overwriting the file touches nobody who has it in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.geometry.poses import Array, Pose
from hyperpose_core.geometry.world import World
from hyperpose_core.landmarks import map_file

FORMAT_VERSION = 1
NETWORK_KEY = "network"
"""Where a map's `source` says which network its images' features are from, by its digest."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points of the world that can be recognised, L of them.

    Attributes:
        positions: float32 [L, 3], metres, local world frame.
        position_covariances: float32 [L, 6], square metres: xx, xy, xz, yy, yz, zz.
        descriptors: uint8 [L, 128], root-SIFT in bytes (see `features`), merged over the views.
        view_directions: float32 [L, 3], the mean unit vectors from the landmark to the cameras that saw it.
        view_cosines: float32 [L], the least cosine between `view_directions` and a direction to one of them.
        distance_ranges: float32 [L, 2], metres, from the nearest and the farthest of them.
        scenes: int16 [L], place in the map's list of scenes.
    """

    positions: npt.NDArray[np.float32]
    position_covariances: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.uint8]
    view_directions: npt.NDArray[np.float32]
    view_cosines: npt.NDArray[np.float32]
    distance_ranges: npt.NDArray[np.float32]
    scenes: npt.NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.positions)

    def covariance_matrices(self, landmarks: npt.NDArray[np.integer]) -> Array:
        """Return the covariances of some landmarks, given by their indices [K], as matrices [K, 3, 3]."""
        return self.position_covariances[landmarks][:, [[0, 1, 2], [1, 3, 4], [2, 4, 5]]].astype(np.float64)


@dataclass(frozen=True, eq=False)
class MapImages:
    """The posed images that the map was built from, M of them.

    Attributes:
        names: their files' names below the dataset's folder.
        positions: float64 [M, 3], camera centres, metres, local world frame.
        orientations: float64 [M, 4], (w, x, y, z), camera-to-world.
        scenes: int16 [M], place in the map's list of scenes.
        cameras: int16 [M], place in the map's list of cameras.
        network_features: float16 [M, D], what a network sees in them, of unit norm; None where none
            was asked.
    """

    names: tuple[str, ...]
    positions: Array
    orientations: Array
    scenes: npt.NDArray[np.int16]
    cameras: npt.NDArray[np.int16]
    network_features: npt.NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def pose(self, index: int) -> Pose:
        """Return an image's camera-to-world pose."""
        return Pose(self.positions[index], self.orientations[index])

    def rows(self, kept: npt.NDArray[np.bool_]) -> MapImages:
        """Keep some of the images [M]."""
        features = self.network_features
        return MapImages(
            names=tuple(name for name, is_kept in zip(self.names, kept, strict=True) if is_kept),
            positions=self.positions[kept],
            orientations=self.orientations[kept],
            scenes=self.scenes[kept],
            cameras=self.cameras[kept],
            network_features=None if features is None else features[kept],
        )


@dataclass(frozen=True, eq=False)
class Observations:
    """Which image saw which landmarks, in compressed rows: O observations, an image's behind one another.

    Attributes:
        image_offsets: int64 [M + 1]; image i's observations are those from image_offsets[i] to
            image_offsets[i + 1].
        landmarks: int32 [O], indices of the landmarks.
        pixels: float32 [O, 2], where in the image as it was read; None where a budget had no room for them.
    """

    image_offsets: npt.NDArray[np.int64]
    landmarks: npt.NDArray[np.int32]
    pixels: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.landmarks)

    def of_image(self, image: int) -> npt.NDArray[np.int32]:
        """Return the indices of the landmarks that an image saw."""
        return self.landmarks[self.image_offsets[image] : self.image_offsets[image + 1]]

    def images(self) -> npt.NDArray[np.int32]:
        """Return each observation's image [O]."""
        counts = np.diff(self.image_offsets)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


@dataclass(frozen=True, eq=False)
class LandmarkMap:
    """What the file holds.

    Attributes:
        landmarks: what can be recognised.
        images: where it was seen from.
        observations: which image saw what.
        cameras: the images' cameras.
        scenes: scene names.
        world: the frame of all positions.
        source: what it was built from and how, for people and for checks against a checkpoint.
        statistics: what building it said (counts, residuals), for people.
        appearance: arrays by name with which images are found by their look; empty where there are none.
        calibration: what localisation was calibrated to on held-out images; None where it was not.
    """

    landmarks: Landmarks
    images: MapImages
    observations: Observations
    cameras: tuple[CameraModel, ...]
    scenes: tuple[str, ...]
    world: World = field(default_factory=World)
    source: Mapping[str, object] = field(default_factory=dict)
    statistics: Mapping[str, object] = field(default_factory=dict)
    appearance: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    calibration: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        """Check that all parts fit together.

        Raises:
            ValueError: an array has a wrong shape or type, an index is out of range, or a number
                is not finite.
        """
        _check_arrays(self)
        _check_indices(self)

    def save(self, path: Path) -> None:
        """Write the map; an existing file is replaced only once the new one is whole.

        Raises:
            HyperPoseError: the file cannot be written.
        """
        map_file.write(Path(path), *self._content())

    def size(self) -> int:
        """Return the size in bytes of the file that `save` writes."""
        return map_file.size(*self._content())

    @classmethod
    def load(cls, path: Path) -> LandmarkMap:
        """Read a map.

        Raises:
            HyperPoseError: the file is missing, truncated, no map, of another format version, or damaged. The
                message names the file and the culprit.
        """
        arrays, document = map_file.read(Path(path), FORMAT_VERSION)
        with map_file.damage_named(Path(path)):
            return _from_content(arrays, document)

    def _content(self) -> tuple[dict[str, npt.NDArray[np.generic]], dict[str, object], int]:
        arrays = {
            f"{group}/{name}": value
            for group in _LAYOUT
            for name in _LAYOUT[group]
            if (value := getattr(getattr(self, group), name)) is not None
        }
        arrays |= {f"{_APPEARANCE}/{name}": value for name, value in self.appearance.items()}
        document = {
            "image_names": list(self.images.names),
            "cameras": [vars(camera) for camera in self.cameras],
            "scenes": list(self.scenes),
            "world": self.world.to_dict(),
            "source": dict(self.source),
            "statistics": dict(self.statistics),
            "calibration": None if self.calibration is None else dict(self.calibration),
        }
        return arrays, document, FORMAT_VERSION


_APPEARANCE = "appearance"
_OPTIONAL = ("network_features", "pixels")
# Type and shape of each array. Letters are sizes: what they stand for must agree.
_LAYOUT: Mapping[str, Mapping[str, tuple[type[np.generic], tuple[str | int, ...]]]] = {
    "landmarks": {
        "positions": (np.float32, ("L", 3)),
        "position_covariances": (np.float32, ("L", 6)),
        "descriptors": (np.uint8, ("L", 128)),
        "view_directions": (np.float32, ("L", 3)),
        "view_cosines": (np.float32, ("L",)),
        "distance_ranges": (np.float32, ("L", 2)),
        "scenes": (np.int16, ("L",)),
    },
    "images": {
        "positions": (np.float64, ("M", 3)),
        "orientations": (np.float64, ("M", 4)),
        "scenes": (np.int16, ("M",)),
        "cameras": (np.int16, ("M",)),
        "network_features": (np.float16, ("M", "D")),
    },
    "observations": {
        "image_offsets": (np.int64, ("M + 1",)),
        "landmarks": (np.int32, ("O",)),
        "pixels": (np.float32, ("O", 2)),
    },
}


def _from_content(
    arrays: Mapping[str, npt.NDArray[np.generic]], document: Mapping[str, object]
) -> LandmarkMap:
    data: dict = dict(document)
    groups: dict[str, dict[str, Any]] = {
        group: {
            name: arrays.get(f"{group}/{name}") if name in _OPTIONAL else arrays[f"{group}/{name}"]
            for name in names
        }
        for group, names in _LAYOUT.items()
    }
    return LandmarkMap(
        landmarks=Landmarks(**groups["landmarks"]),
        images=MapImages(tuple(str(name) for name in data["image_names"]), **groups["images"]),
        observations=Observations(**groups["observations"]),
        cameras=tuple(
            CameraModel(**{**camera, "distortion": tuple(camera["distortion"])}) for camera in data["cameras"]
        ),
        scenes=tuple(str(scene) for scene in data["scenes"]),
        world=World.from_dict(data["world"]),
        source=dict(data["source"]),
        statistics=dict(data["statistics"]),
        appearance={
            name.removeprefix(f"{_APPEARANCE}/"): array
            for name, array in arrays.items()
            if name.startswith(f"{_APPEARANCE}/")
        },
        calibration=None if data["calibration"] is None else dict(data["calibration"]),
    )


def _check_arrays(content: LandmarkMap) -> None:
    sizes: dict[str | int, int] = {"M": len(content.images.names), "M + 1": len(content.images.names) + 1}
    for group, names in _LAYOUT.items():
        for name, (dtype, shape) in names.items():
            array = getattr(getattr(content, group), name)
            if array is None and name in _OPTIONAL:
                continue
            wanted = tuple(size if isinstance(size, int) else sizes.get(size) for size in shape)
            fits = array.ndim == len(wanted) and all(
                b in (None, a) for a, b in zip(array.shape, wanted, strict=True)
            )
            if array.dtype != dtype or not fits:
                expected = f"{np.dtype(dtype).name} [{', '.join(map(str, shape))}]"
                raise ValueError(
                    f"{group}/{name} is {array.dtype.name} {list(array.shape)}, not {expected} "
                    f"with {', '.join(f'{key} = {value}' for key, value in sizes.items())}"
                )
            sizes |= {key: size for key, size in zip(shape, array.shape, strict=True) if key not in sizes}
            if not np.isfinite(array).all():
                raise ValueError(f"{group}/{name} holds numbers that are not finite")


def _check_indices(content: LandmarkMap) -> None:
    ranges = (
        ("landmarks/scenes", content.landmarks.scenes, len(content.scenes)),
        ("images/scenes", content.images.scenes, len(content.scenes)),
        ("images/cameras", content.images.cameras, len(content.cameras)),
        ("observations/landmarks", content.observations.landmarks, len(content.landmarks)),
    )
    for name, indices, count in ranges:
        if len(indices) and not (indices.min() >= 0 and indices.max() < count):
            raise ValueError(f"{name} holds indices outside 0..{count - 1}")
    offsets = content.observations.image_offsets
    if offsets[0] != 0 or offsets[-1] != len(content.observations) or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"observations/image_offsets does not rise from 0 to the {len(content.observations)} observations"
        )
    if len(content.images) and np.linalg.norm(content.images.orientations, axis=1).min() < 0.5:
        raise ValueError("images/orientations holds quaternions that are not of unit norm")
