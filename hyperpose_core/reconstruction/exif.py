"""What a photograph's EXIF says that a reconstruction can use: the camera, the place, the time, the turn."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from hyperpose_core.files import opened
from hyperpose_core.limits import LARGEST_IMAGE_BYTES, LARGEST_IMAGE_PIXELS

_FILM_WIDTH_MM = 36.0
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class ImageFacts:
    """A photograph's size, and what its EXIF says; None where it says nothing.

    Attributes:
        width: pixels, as the image is seen (turned as EXIF says).
        height: pixels, as the image is seen.
        is_turned: whether the pixels lie otherwise in the file than the image is seen.
        camera: make and model.
        focal_length_px: from the focal length in terms of 35 mm film.
        location: latitude and longitude, degrees, and altitude, metres.
        stamp_ns: when it was taken, nanoseconds since 1970, by the camera's clock.
    """

    width: int
    height: int
    is_turned: bool = False
    camera: str = ""
    focal_length_px: float | None = None
    location: tuple[float, float, float] | None = None
    stamp_ns: int | None = None


def read_facts(path: Path) -> ImageFacts | None:
    """Read an image file's size and EXIF; None where it is no image, or one of too many pixels."""
    try:
        with warnings.catch_warnings(), opened(path, "image", LARGEST_IMAGE_BYTES) as stream:
            warnings.simplefilter("ignore")
            image = Image.open(stream)
            width, height = image.size
            tags = image.getexif()
            details = dict(tags.get_ifd(ExifTags.IFD.Exif))
            gps = dict(tags.get_ifd(ExifTags.IFD.GPSInfo))
            main = dict(tags)
    # What damaged or hostile files make Pillow raise is not one type.
    except Exception:
        return None
    if not 0 < width * height <= LARGEST_IMAGE_PIXELS:
        return None
    orientation = main.get(ExifTags.Base.Orientation, 1)
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    film = _number(details.get(ExifTags.Base.FocalLengthIn35mmFilm))
    names = (str(main.get(tag, "")).strip("\0 ") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    return ImageFacts(
        width=width,
        height=height,
        is_turned=orientation in range(2, 9),
        camera=" ".join(name for name in names if name),
        focal_length_px=film / _FILM_WIDTH_MM * max(width, height) if film else None,
        location=_location(gps),
        stamp_ns=_stamp(details, main),
    )


def _location(gps: Mapping[int, Any]) -> tuple[float, float, float] | None:
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), "S")
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), "W")
    if latitude is None or longitude is None:
        return None
    altitude = _number(gps.get(ExifTags.GPS.GPSAltitude)) or 0.0
    below_sea = gps.get(ExifTags.GPS.GPSAltitudeRef) in (1, b"\x01")
    return latitude, longitude, -altitude if below_sea else altitude


def _degrees(parts: Any, reference: Any, negative: str) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60.0 + seconds / 3600.0
    return -value if str(reference).strip("\0 ").upper() == negative else value


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0.0 < number < 1e6 else None


def _stamp(details: Mapping[int, Any], main: Mapping[int, Any]) -> int | None:
    text = details.get(ExifTags.Base.DateTimeOriginal) or main.get(ExifTags.Base.DateTime)
    fraction = str(details.get(ExifTags.Base.SubsecTimeOriginal, "")).strip("\0 ")
    try:
        moment = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=timezone.utc)
    except ValueError:
        return None
    part = int(fraction[:9].ljust(9, "0")) if fraction.isdigit() else 0
    return int(moment.timestamp()) * _NANOSECONDS + part
