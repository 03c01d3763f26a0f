"""What the arguments of `hyperpose reconstruct` and `hyperpose build` say of the reconstruction."""

from __future__ import annotations

import argparse

from hyperpose_core.datasets.options import parse_camera
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.reconstruction.distance import parse_distance
from hyperpose_core.reconstruction.gathering import GatheringSettings
from hyperpose_core.reconstruction.reconstruct import ReconstructionSettings
from hyperpose_core.reconstruction.tags import TagSettings


def reconstruction_settings_from(arguments: argparse.Namespace) -> ReconstructionSettings:
    """Return what the arguments of `add_reconstruction_arguments` say.

    Raises:
        HyperPoseError: a value is impossible.
    """
    if arguments.most < 3 or not 0.0 < arguments.spacing < 1.0:
        raise HyperPoseError("--frames must be 3 or more, --spacing between 0 and 1")
    if arguments.camera_height is not None and not arguments.camera_height > 0.0:
        raise HyperPoseError(f"--camera-height is {arguments.camera_height}; give metres above 0")
    return ReconstructionSettings(
        gathering=GatheringSettings(
            spacing=arguments.spacing,
            most=arguments.most,
            camera=parse_camera(arguments.camera),
            separate_cameras=arguments.separate_cameras,
            image_topic=arguments.image_topic,
            camera_info_topic=arguments.camera_info_topic,
        ),
        mapper=arguments.mapper,
        tags=None
        if arguments.tag_size is None
        else TagSettings(arguments.tag_size, arguments.tag_dictionary),
        track=arguments.track,
        track_offset_s=arguments.track_offset,
        distances=tuple(parse_distance(*distance) for distance in arguments.distance),
        camera_height_m=arguments.camera_height,
    )
