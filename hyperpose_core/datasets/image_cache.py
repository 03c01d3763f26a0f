"""Training images decoded and resized once, kept memory-mapped on disk."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError, named
from hyperpose_core.files import checksum, read_bytes, replace_text, replacing
from hyperpose_core.images import Preprocessing
from hyperpose_core.untrusted import parse_json


class ImageCache:
    """Resized, uncropped uint8 images [3, h, w] of one size, in the order of the records.

    Attributes:
        fingerprint: what tells these images from other ones.
    """

    def __init__(self, images: Sequence[PosedImage], preprocessing: Preprocessing, folder: Path) -> None:
        """Open the cache in a folder, filling it where it is missing or its sources have changed.

        Raises:
            HyperPoseError: an image is missing, unreadable or of another shape than the first; it is named.
        """
        self.fingerprint = _fingerprint(images, preprocessing)
        description = folder / "images.json"
        data = folder / "images.npy"
        if not _is_whole(data, description, self.fingerprint):
            _fill(data, images, preprocessing)
            content = {"fingerprint": self.fingerprint, "crc32": checksum(data)}
            replace_text(description, json.dumps(content), "description of the images")
        self._pixels = np.load(data, mmap_mode="r")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return int(self._pixels.shape[2]), int(self._pixels.shape[3])

    def batch(self, indices: Sequence[int]) -> Tensor:
        """Return the images of some records as uint8 [N, 3, h, w]."""
        return torch.from_numpy(self._pixels[np.asarray(indices)])


def _fill(path: Path, images: Sequence[PosedImage], preprocessing: Preprocessing) -> None:
    with named(images[0].path):
        first = preprocessing.resized(images[0].read())
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), *first.shape)}
    # Written, not mapped: a full disk is then an error, where touching mapped memory ends the process.
    with replacing(path, "decoded images") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for record in tqdm(images, desc="decoding images", unit="image", dynamic_ncols=True):
            stream.write(_resized(record, preprocessing, first.shape))


def _resized(record: PosedImage, preprocessing: Preprocessing, shape: torch.Size) -> memoryview:
    with named(record.path):
        image = preprocessing.resized(record.read())
    if image.shape != shape:
        raise HyperPoseError(
            f"{record.path}: {image.shape[2]}x{image.shape[1]} after resizing, where the first image is "
            f"{shape[2]}x{shape[1]}; train on images of one shape, or give the recipe an exact "
            "`resize: [height, width]`, which squashes the others"
        )
    return image.contiguous().numpy().data


def _is_whole(data: Path, description: Path, fingerprint: str) -> bool:
    """Tell whether the cache is there, of these images, and as it was written."""
    if not (data.is_file() and description.is_file()):
        return False
    try:
        content = parse_json(read_bytes(description), description)
        return bool(content == {"fingerprint": fingerprint, "crc32": checksum(data)})
    except HyperPoseError:
        return False


def _fingerprint(images: Sequence[PosedImage], preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(repr(preprocessing.resize).encode())
    reader: object = None
    for record in images:
        try:
            status = record.path.stat()
        except OSError as error:
            raise HyperPoseError(f"{record.path}: cannot read the image: {error.strerror}") from error
        # Images of one bag share a file; what tells them apart is in the reader or the stamp.
        source = (str(record.path.resolve()), status.st_size, status.st_mtime_ns, record.stamp_ns)
        digest.update(repr(source).encode())
        if record.reader is not reader:
            reader = record.reader
            digest.update(pickle.dumps(reader))
    return json.dumps({"sources": digest.hexdigest(), "count": len(images)})
