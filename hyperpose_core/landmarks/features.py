"""Local features of an image: the same code where maps are built and where images are localised in them.

SIFT (Lowe, Distinctive image features from scale-invariant keypoints, IJCV 2004) as OpenCV has it, its
descriptors as root-SIFT (Arandjelovic and Zisserman, Three things everyone should know to improve object
retrieval, CVPR 2012), in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hyperpose_core.images import RgbImage

DESCRIPTOR_SIZE = 128
DESCRIPTOR_NORM = 512.0
"""Euclidean norm of a descriptor in bytes, up to rounding and the few values above 255."""

# Lower than OpenCV's 0.04, for dark images; the best of what is found are kept all the same.
_CONTRAST_THRESHOLD = 0.02


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Local features of one image, the strongest first.

    Attributes:
        points: float32 [N, 2], (x, y) in pixels of the image as it was read; pixel centres are whole
            numbers.
        scales: float32 [N], diameters of the described neighbourhoods, pixels of the image as it was read.
        orientations: float32 [N], radians, from the image's x axis towards its y axis.
        descriptors: uint8 [N, 128], root-SIFT times 512.
    """

    points: npt.NDArray[np.float32]
    scales: npt.NDArray[np.float32]
    orientations: npt.NDArray[np.float32]
    descriptors: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.points)


def extract_features(image: RgbImage, *, longest_side: int | None = None, count: int = 1500) -> ImageFeatures:
    """Find and describe the strongest features of an image.

    Args:
        image: RGB uint8 [H, W, 3].
        longest_side: the image is reduced to this many pixels along its longer side first, which takes less
            time; smaller images, and all of them where it is None, stay as they are.
        count: at most so many features.
    """
    grey, scale = _reduced(image, longest_side)
    # Without precise upscaling all points would lie a quarter of a pixel off.
    detector = cv2.SIFT.create(
        nfeatures=count, contrastThreshold=_CONTRAST_THRESHOLD, enable_precise_upscale=True
    )
    keypoints, descriptors = detector.detectAndCompute(grey, None)
    order = sorted(range(len(keypoints)), key=lambda index: -keypoints[index].response)[:count]
    kept = [keypoints[index] for index in order]
    points = np.array([keypoint.pt for keypoint in kept], dtype=np.float32).reshape(-1, 2)
    return ImageFeatures(
        points=(points + np.float32(0.5)) / np.float32(scale) - np.float32(0.5),
        scales=np.array([keypoint.size for keypoint in kept], dtype=np.float32) / np.float32(scale),
        orientations=np.radians(np.array([keypoint.angle for keypoint in kept], dtype=np.float32)),
        descriptors=_root_sift(
            np.asarray(descriptors, np.float32)[order] if kept else np.zeros((0, DESCRIPTOR_SIZE))
        ),
    )


def to_bytes(descriptors: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Scale descriptors [N, 128] of any norm to the norm that descriptors in bytes have, and round them."""
    norms = np.linalg.norm(descriptors, axis=1, keepdims=True)
    scaled = descriptors * (DESCRIPTOR_NORM / np.maximum(norms, 1e-9))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _reduced(image: RgbImage, longest_side: int | None) -> tuple[npt.NDArray[np.uint8], float]:
    """Return the grey image, reduced, and its size as a share of the full one."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    if longest_side is None or longest_side >= max(height, width):
        return np.asarray(grey, dtype=np.uint8), 1.0
    scale = longest_side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), scale


def _root_sift(descriptors: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    return to_bytes(np.sqrt(np.maximum(descriptors, 0.0)))
