"""Images in, poses out: the one way that every program runs a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hyperpose_core.checkpoint import Checkpoint, load_checkpoint
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.geometry import Array, Pose
from hyperpose_core.images import RgbImage
from hyperpose_core.models.registry import build_model


@dataclass(frozen=True, eq=False)
class PoseEstimate:
    """What the network says of one image.

    Attributes:
        pose: the camera's optical frame in the local world frame, or None where the output is not finite.
        covariance: float64 [6, 6], order x, y, z, rot x, rot y, rot z, metres and radians, world frame.
        scene: the scene that the network chose; None for a single-scene network.
        scene_probability: the probability it gave that scene.
    """

    pose: Pose | None
    covariance: Array
    scene: str | None = None
    scene_probability: float | None = None


def select_device(name: str) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device that this machine has.

    Raises:
        HyperPoseError: the name is unknown or the device isn't there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise HyperPoseError(f"device {name!r} is unknown; use auto, cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise HyperPoseError(f"device {name!r} is not supported; use auto, cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise HyperPoseError(
            f"device {name!r} is not on this machine; use cpu, or auto to take what there is"
        )
    return device


class PoseEstimator:
    """A trained network ready to be asked, safe to share between threads.

    Attributes:
        checkpoint: what the network was built from, without its tensors' second copy.
        device: where it runs.
    """

    def __init__(self, checkpoint: Checkpoint, device: str = "auto") -> None:
        """Build the network of a checkpoint on a device.

        Raises:
            HyperPoseError: the device is unknown, or the tensors don't fit the architecture.
        """
        self.checkpoint = checkpoint
        self.device = select_device(device)
        network = build_network(checkpoint).eval().requires_grad_(False)
        self._network = network.to(self.device).to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, path: Path | str, device: str = "auto") -> PoseEstimator:
        """Build from a checkpoint file.

        Raises:
            HyperPoseError: the file or the device is wrong; the message names it.
        """
        try:
            return cls(load_checkpoint(Path(path)), device)
        except HyperPoseError as error:
            message = str(error)
            raise HyperPoseError(message if str(path) in message else f"{path}: {message}") from error

    def estimate(self, images: Sequence[RgbImage]) -> list[PoseEstimate]:
        """Estimate the poses of RGB uint8 images [H, W, 3], which must share one input size."""
        return self.infer(torch.stack([self.preprocess(image) for image in images])) if images else []

    def preprocess(self, image: RgbImage) -> Tensor:
        """Turn one RGB uint8 image [H, W, 3] into the network's float32 input [3, h, w], on the CPU."""
        return self.checkpoint.preprocessing(image)

    def infer(self, inputs: Tensor) -> list[PoseEstimate]:
        """Run the network once on preprocessed inputs [N, 3, h, w] and read its outputs as poses."""
        with torch.inference_mode():
            output = self._network(inputs.to(self.device, memory_format=torch.channels_last))
            positions = output.position.double().cpu().numpy()
            orientations = output.orientation.double().cpu().numpy()
            log_probabilities = output.scene_log_probabilities
            scenes = None if log_probabilities is None else log_probabilities.double().exp().cpu().numpy()
        chosen = np.zeros(len(positions), dtype=np.int64) if scenes is None else scenes.argmax(axis=1)
        positions = self.checkpoint.normalisation.denormalize(positions, chosen)
        if self.checkpoint.orientation_convention == "world_to_camera":
            orientations = orientations * np.array([1.0, -1.0, -1.0, -1.0])
        return [
            self._estimate(positions[index], orientations[index], None if scenes is None else scenes[index])
            for index in range(len(positions))
        ]

    def warm_up(self, height: int, width: int) -> None:
        """Run once on a black image of the given size, so that the first real one is not slower."""
        self.estimate([np.zeros((height, width, 3), dtype=np.uint8)])

    def _estimate(self, position: Array, orientation: Array, probabilities: Array | None) -> PoseEstimate:
        try:
            pose = Pose(position, orientation)
        except ValueError:
            pose = None
        covariance = self.checkpoint.uncertainty.covariance
        if probabilities is None:
            return PoseEstimate(pose, covariance)
        chosen = int(np.argmax(probabilities))
        return PoseEstimate(pose, covariance, self.checkpoint.scenes[chosen], float(probabilities[chosen]))


def build_network(checkpoint: Checkpoint) -> nn.Module:
    """Build a checkpoint's network and fill it with its tensors.

    Raises:
        HyperPoseError: the architecture is unknown or the tensors don't fit it.
    """
    network = build_model(checkpoint.architecture, checkpoint.options)
    try:
        network.load_state_dict(dict(checkpoint.state), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise HyperPoseError(
            f"the tensors don't fit the architecture {checkpoint.architecture!r}: {reason}"
        ) from error
    return network
