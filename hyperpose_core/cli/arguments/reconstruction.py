"""Arguments of what is reconstructed from images, and how: `hyperpose reconstruct`, `hyperpose build`."""

from __future__ import annotations

import argparse

from hyperpose_core.choices import FRAME_SPACING, MOST_FRAMES, TAG_DICTIONARY_NAMES


def add_reconstruction_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of frames and camera, and of metres and up."""
    _add_frame_arguments(parser)
    _add_scale_arguments(parser)


def _add_frame_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("frames and camera")
    group.add_argument(
        "--frames",
        type=int,
        default=MOST_FRAMES,
        dest="most",
        help="choose about so many frames of a long video at most (default: %(default)s)",
    )
    group.add_argument(
        "--spacing",
        type=float,
        default=FRAME_SPACING,
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
        choices=TAG_DICTIONARY_NAMES,
        metavar="NAME",
        help=f"their kind, of {', '.join(TAG_DICTIONARY_NAMES)} (default: found out)",
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
        "IMAGE@X,Y; repeatable",
    )
    group.add_argument(
        "--camera-height",
        type=float,
        metavar="METRES",
        help="the camera's height above a level ground in view",
    )
