"""`hyperpose reconstruct`: poses of images that have none."""

from __future__ import annotations

import argparse
from pathlib import Path

from hyperpose_core.datasets.options import parse_camera
from hyperpose_core.errors import HyperPoseError

try:
    import pycolmap  # noqa: F401
except ModuleNotFoundError as missing:
    raise HyperPoseError("reconstruct needs pycolmap: pip install 'hyperpose_ros[map]'") from missing
from hyperpose_core.reconstruction.distance import parse_distance
from hyperpose_core.reconstruction.gathering import GatheringSettings
from hyperpose_core.reconstruction.reconstruct import ReconstructionSettings, reconstruct
from hyperpose_core.reconstruction.report import REPORT_FOLDER, summary_lines
from hyperpose_core.reconstruction.tags import DICTIONARIES, TagSettings
from hyperpose_core.reconstruction.writing import LABELS_FILE

PROBLEMS_FOUND = 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb's parser."""
    parser = subparsers.add_parser(
        "reconstruct",
        description="Find the poses of a video's frames, a folder's photographs or a bag's images by "
        "structure from motion, and write labels.csv, the camera and COLMAP's model, ready for every other "
        "verb. Several sources of one place come into one world. Interrupted, the same command goes on where "
        "it was; once finished, it takes seconds to give it another scale.",
        epilog="Exit code: 0 if all went well, 1 if there are poses but something asked for was not had "
        "(said in a line that begins with 'problem'), 2 if there are none.",
    )
    parser.add_argument(
        "sources", type=Path, nargs="+", metavar="SOURCE", help="video, folder of images, or bag"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the place")
    _add_frame_arguments(parser)
    _add_scale_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct as the arguments say.

    Raises:
        HyperPoseError: an argument or a source is wrong, or no images could be joined.
    """
    if arguments.most < 3 or not 0.0 < arguments.spacing < 1.0:
        raise HyperPoseError("--frames must be 3 or more, --spacing between 0 and 1")
    if arguments.camera_height is not None and not arguments.camera_height > 0.0:
        raise HyperPoseError(f"--camera-height is {arguments.camera_height}; give metres above 0")
    settings = ReconstructionSettings(
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
    place = reconstruct(arguments.sources, arguments.output, settings)
    print("\n".join(summary_lines(place)))
    print(
        f"written to {place.output} in {place.seconds:.0f} s: {LABELS_FILE}, sparse/0, "
        f"{REPORT_FOLDER}/results.md"
    )
    print(f"next: hyperpose train --data {place.output / LABELS_FILE} --split train --output RUN")
    return PROBLEMS_FOUND if place.problems else 0


def _add_frame_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = GatheringSettings()
    group = parser.add_argument_group("frames and camera")
    group.add_argument(
        "--frames",
        type=int,
        default=defaults.most,
        dest="most",
        help="choose about so many frames of a long video at most (default: %(default)s)",
    )
    group.add_argument(
        "--spacing",
        type=float,
        default=defaults.spacing,
        help="wanted motion of the picture between chosen frames, as a share of its larger side (default: "
        "%(default)s)",
    )
    group.add_argument(
        "--camera",
        metavar="W,H,FX,FY,CX,CY",
        help="intrinsics in pixels, which are then kept (default: a bag's camera_info, or solved, from "
        "EXIF's focal length where it is there)",
    )
    group.add_argument(
        "--separate-cameras",
        action="store_true",
        help="each source was taken by another camera, even if image sizes agree",
    )
    group.add_argument("--image-topic", help="a bag's image topic (default: its only one)")
    group.add_argument("--camera-info-topic", help="a bag's camera_info (default: beside the image topic)")
    group.add_argument(
        "--mapper",
        choices=["auto", "global", "incremental"],
        default="auto",
        help="solve all images at once or one after the other (default: at once, and the other way where "
        "that leaves many out)",
    )


def _add_scale_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "metres and up",
        "Images alone do not say how large the world is. With none of these its unit is not the metre.",
    )
    group.add_argument(
        "--tag-size", type=float, metavar="METRES", help="side of the black square of tags that are in view"
    )
    group.add_argument(
        "--tag-dictionary",
        choices=[*DICTIONARIES],
        metavar="NAME",
        help=f"their kind, of {', '.join(DICTIONARIES)} (default: found out)",
    )
    group.add_argument(
        "--track",
        help="where the images were taken: a TUM file, a bag's topic (poses, odometry or NavSatFix), or exif "
        "for GPS in photographs; its frame becomes the world",
    )
    group.add_argument(
        "--track-offset",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="to be added to an image's stamp to have the track's; a video's stamps begin at 0",
    )
    group.add_argument(
        "--distance",
        nargs=3,
        action="append",
        default=[],
        metavar=("FROM", "TO", "METRES"),
        help="a distance that you measured between the places of two images (a file's name, a frame's "
        "number, or a time as 12.5s; of several sources SOURCE:NUMBER), or between two points, each "
        "IMAGE@X,Y; may be repeated",
    )
    group.add_argument(
        "--camera-height",
        type=float,
        metavar="METRES",
        help="the camera's height above a level ground in view",
    )
