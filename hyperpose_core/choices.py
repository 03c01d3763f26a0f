"""What command lines offer, apart from the modules that implement it, which import torch or OpenCV."""

from __future__ import annotations

from collections.abc import Mapping

DATASET_FORMAT_NAMES = (
    "csv",
    "7scenes",
    "cambridge",
    "robotcar",
    "rosbag",
    "transforms",
    "colmap",
    "tum",
    "polycam",
    "record3d",
    "opensfm",
    "rtabmap",
    "kapture",
)

MODEL_NAMES = ("posenet", "hyperpose", "atloc", "hyperatloc", "mstransformer", "mshyperpose")
BACKBONE_NAMES = ("efficientnet_b0", "efficientnet_lite0", "resnet34")
ORIENTATION_CONVENTIONS = ("camera_to_world", "world_to_camera")

AUTO = "auto"
"""The name of the recipe that is chosen from the data."""

BUILD_MINUTES = 20.0
"""How long `hyperpose build` trains."""

ABLATION_PAIRS: Mapping[str, str] = {
    "hyperpose": "posenet",
    "hyperatloc": "atloc",
    "mshyperpose": "mstransformer",
}
"""Networks with a hypernetwork, and what each is without it."""

BEST_POSSIBLE_FOLDER = "best_possible"
"""Of the baseline's report on the training frame whose pose is nearest."""

ECL_ENGINES = ("diffusers", "classical")

LARGEST_EXPORT_DIFFERENCE = 1e-4
"""Of an output of an exported network in float32, as a part of the largest such output."""

FEWEST_MAP_IMAGES = 50
MOST_MAP_IMAGES = 1000
"""Fewer images than the one leave a training without a landmark map; the map takes no more than the other."""

MOST_FRAMES = 400
FRAME_SPACING = 0.006
"""Of frames to reconstruct: how many at most, and the wanted motion between two, as a share of the image."""

TAG_DICTIONARY_NAMES = (
    "apriltag_36h11",
    "apriltag_25h9",
    "apriltag_16h5",
    "aruco_original",
    "4x4",
    "5x5",
    "6x6",
    "7x7",
)
