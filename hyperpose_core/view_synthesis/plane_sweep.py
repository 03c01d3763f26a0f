"""Depth of an image from other images whose poses are known, by plane sweeping.

Planes parallel to the image at many depths are tried: where a plane lies on a surface, the other images,
projected onto it, look like the image itself (Collins, "A Space-Sweep Approach to True Multi-Image
Matching", CVPR 1996). Likeness is zero-mean normalised cross-correlation; of the other images the better half
counts, since a surface may be hidden from the rest (Kang, Szeliski and Chai, "Handling Occlusions in Dense
Multi-view Stereo", CVPR 2001). Semi-global matching makes neighbouring pixels agree (Hirschmueller, "Accurate
and Efficient Stereo Processing by Semi-Global Matching and Mutual Information", CVPR 2005).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hyperpose_core.geometry.camera import CameraModel
from hyperpose_core.view_synthesis.projection import pixel_rays, sampling_grid

_WINDOW = 7  # pixels, side of the windows that are compared
_GREY_NOISE = 3e-5  # variance that a grey value in 0..1 has where there is nothing to see
_SMALL_STEP, _LARGE_STEP = 0.1, 0.6  # what a change of depth between neighbouring pixels costs


def inverse_depths(
    image: Tensor, others: Tensor, to_others: Tensor, camera: CameraModel, planes: Tensor
) -> Tensor:
    """Return the inverse depth of each pixel [h, w], 1/m.

    Args:
        image: grey values in 0..1 [h, w].
        others: images of the same size that see the same things from elsewhere [K, h, w].
        to_others: takes points of the image's optical frame to the others', metres [K, 4, 4].
        camera: of all the images.
        planes: inverse depths to try, 1/m, evenly spaced and rising [D].
    """
    likeness = _likeness(image, others, to_others, camera, planes)
    cost = _semi_global_cost(1 - likeness)
    return planes[0] + _lowest(cost) * (planes[1] - planes[0])


def _likeness(
    image: Tensor, others: Tensor, to_others: Tensor, camera: CameraModel, planes: Tensor
) -> Tensor:
    """Return how alike image and others are where a pixel lies at each plane, at most 1 [D, h, w]."""
    height, width = image.shape
    rays = pixel_rays(camera, height, width).flatten(1)
    points = (to_others[:, :3, :3] @ rays)[:, None] + planes.view(-1, 1, 1) * to_others[:, None, :3, 3:]
    points = points.movedim(2, 1).reshape(len(others), 3, -1, width)
    grid = sampling_grid(camera, points, height, width)
    seen = (grid.abs() <= 1).all(dim=-1) & (points[:, 2] > 0)
    shape = (len(others), len(planes), height, width)
    projected = functional.grid_sample(others[:, None], grid, padding_mode="border", align_corners=False)
    correlation = _correlation(image[None, None], projected.view(shape))
    better = torch.where(seen.view(shape), correlation, -torch.inf).topk((len(others) + 1) // 2, dim=0).values
    counted = better > -torch.inf
    total = torch.where(counted, better, 0).sum(0)
    return total / counted.sum(0).clamp(min=1)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    first_mean, second_mean = _window_mean(first), _window_mean(second)
    covariance = _window_mean(first * second) - first_mean * second_mean
    first_variance = (_window_mean(first * first) - first_mean**2).clamp(min=0)
    second_variance = (_window_mean(second * second) - second_mean**2).clamp(min=0)
    return covariance / torch.sqrt((first_variance + _GREY_NOISE) * (second_variance + _GREY_NOISE))


def _window_mean(images: Tensor) -> Tensor:
    radius = _WINDOW // 2
    along_rows = functional.avg_pool2d(images, (1, _WINDOW), 1, (0, radius), count_include_pad=False)
    return functional.avg_pool2d(along_rows, (_WINDOW, 1), 1, (radius, 0), count_include_pad=False)


def _semi_global_cost(cost: Tensor) -> Tensor:
    """Add up the lowest costs of paths that reach each pixel along rows and columns, both ways [D, h, w]."""
    total = torch.zeros_like(cost)
    for axis in (1, 2):
        lines = cost.transpose(1, axis)
        there = _path_cost(lines)
        back = _path_cost(lines.flip(1)).flip(1)
        total += (there + back).transpose(1, axis)
    return total


def _path_cost(cost: Tensor) -> Tensor:
    """Return the lowest cost of a path down the columns that ends at each pixel and plane [D, h, w]."""
    rows = [cost[:, 0]]
    for row in cost.unbind(1)[1:]:
        before = rows[-1]
        lowest = before.min(dim=0, keepdim=True).values
        padded = functional.pad(before[None], (0, 0, 1, 1), value=torch.inf)[0]
        one_step = torch.minimum(padded[:-2], padded[2:]) + _SMALL_STEP
        best = torch.minimum(torch.minimum(before, one_step), lowest + _LARGE_STEP)
        rows.append(row + best - lowest)
    return torch.stack(rows, dim=1)


def _lowest(cost: Tensor) -> Tensor:
    """Return at which plane the cost is lowest, between planes by a parabola [h, w]."""
    plane = cost[1:-1].argmin(dim=0, keepdim=True) + 1
    before, at, after = (cost.gather(0, plane + step)[0] for step in (-1, 0, 1))
    offset = (before - after) / (2 * (before - 2 * at + after)).clamp(min=1e-6)
    return plane[0] + offset.clamp(-0.5, 0.5)
