"""How a map is built: what costs time or memory, and what was chosen on held-out images."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class MapSettings:
    """Settings of `building.build_map`.

    Attributes:
        features: at most so many features an image.
        longest_side: images are reduced to this many pixels along their longer side for their features.
        neighbours: partners by pose that each image is matched with.
        alike: partners by appearance that each image is matched with.
        angle_deg: largest angle between the viewing directions of partners by pose.
        ratio: a match's distance is at most this share of that to the second nearest.
        least_views: a landmark is seen in so many images at least.
        relative_deviation: a landmark's standard deviation along its worst axis is at most this share of its
            distance.
        adjust_poses: whether the given poses and intrinsics are refined, too.
        calibrate: whether localisation in the map is tried on its own images in the end.
        budget: largest size of the file, bytes; None for no limit.
        workers: threads that extract features and match.
    """

    features: int = 2000
    longest_side: int = 1280
    neighbours: int = 10
    alike: int = 1
    angle_deg: float = 40.0
    ratio: float = 0.87
    least_views: int = 2
    relative_deviation: float = 0.1
    adjust_poses: bool = False
    calibrate: bool = True
    budget: int | None = None
    workers: int = 2

    def to_dict(self) -> dict[str, object]:
        """Return what the map depends on, as plain data."""
        return {name: value for name, value in asdict(self).items() if name != "workers"}

    def of_matching(self) -> dict[str, object]:
        """Return what features and matches depend on, as plain data."""
        return {name: getattr(self, name) for name in _OF_MATCHING}


_OF_MATCHING = ("features", "longest_side", "neighbours", "alike", "angle_deg", "ratio")
