"""The engine of the paper: InstructPix2Pix (Brooks, Holynski and Efros, CVPR 2023) through diffusers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from hyperpose_core.ecl.conditions import Conditions
from hyperpose_core.ecl.engine import require, versions
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.images import RgbImage
from hyperpose_core.inference.build_engine import select_device

DEFAULT_WEIGHTS = "timbrooks/instruct-pix2pix"
IMAGES_ARE = "InstructPix2Pix"

# Black pictures in place of what it takes for indecent would be scored as poses; and safetensors run no code.
_LOADING: Mapping[str, Any] = {
    "use_safetensors": True,
    "safety_checker": None,
    "requires_safety_checker": False,
    "low_cpu_mem_usage": False,
}


class InstructPix2PixEngine:
    """Edits images by instruction, at the network's resolution, and gives them their size back."""

    def __init__(self, conditions: Conditions, weights: str, device: str) -> None:
        """Load the pipeline.

        Args:
            conditions: prompts, and how the pipeline is run.
            weights: its folder, or its name on the Hugging Face hub.
            device: "auto", "cpu", "cuda" or "cuda:N".

        Raises:
            HyperPoseError: a library is missing, the device is unknown, or there are no such weights, none
                as safetensors, or none of InstructPix2Pix.
        """
        diffusers, transformers = require("diffusers", "transformers")
        self._device = select_device(device)
        self._dtype = torch.float16 if self._device.type == "cuda" else torch.float32
        self._conditions = conditions
        self._weights = weights
        for library in (diffusers, transformers):
            library.utils.logging.disable_progress_bar()
            library.utils.logging.set_verbosity_error()
        with _one_line(f"weights {weights}"):
            kind = diffusers.StableDiffusionInstructPix2PixPipeline
            folder = Path(weights)
            if not folder.is_dir():
                if folder.is_absolute() or len(folder.parts) != 2:
                    raise HyperPoseError("neither a folder nor a name on the hub (OWNER/NAME)")
                folder = Path(kind.download(weights, **_LOADING))
            self._digest = _digest(folder)
            pipeline = kind.from_pretrained(folder, **_LOADING)
            self._pipeline = pipeline.to(self._device, self._dtype)
        self._pipeline.set_progress_bar_config(disable=True)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The weights with their digest, how the pipeline is run, and the libraries' versions."""
        pipeline = self._conditions.pipeline
        return {
            "engine": "diffusers",
            "images_are": f"{IMAGES_ARE}, weights {self._weights}",
            "weights": self._weights,
            "weights_sha256": self._digest,
            "pipeline": {
                "steps": pipeline.steps,
                "guidance_scale": pipeline.guidance_scale,
                "image_guidance_scale": pipeline.image_guidance_scale,
                "resolution": pipeline.resolution,
            },
            "device": self._device.type,
            "versions": versions("diffusers", "transformers", "torch"),
        }

    def vary(self, image: RgbImage, condition: str, seed: int) -> RgbImage:
        """Return the image under a condition (see `Engine`).

        Raises:
            HyperPoseError: the pipeline fails, as for want of memory.
        """
        height, width = image.shape[:2]
        inside = cv2.resize(image, self._working_size(width, height), interpolation=cv2.INTER_AREA)
        settings = self._conditions.pipeline
        with _one_line(f"weights {self._weights}"):
            result = self._pipeline(
                self._conditions.conditions[condition],
                image=inside[None].astype(np.float32) / 255,
                num_inference_steps=settings.steps,
                guidance_scale=settings.guidance_scale,
                image_guidance_scale=settings.image_guidance_scale,
                # Drawn on the CPU, the noise is the same on every device.
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
            ).images[0]
        edited = np.clip(np.round(np.nan_to_num(result) * 255), 0, 255).astype(np.uint8)
        return np.asarray(cv2.resize(edited, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)

    def _working_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size at the network's resolution, in whole pixels of its latent image."""
        step = self._pipeline.vae_scale_factor
        scale = self._conditions.pipeline.resolution / max(width, height)
        rounded = (max(1, round(side * scale / step)) * step for side in (width, height))
        return next(rounded), next(rounded)


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn whatever the libraries raise, of many kinds and lines, into one line."""
    try:
        yield
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise HyperPoseError(f"{what}: {text}") from error


def _digest(folder: Path) -> str:
    """Return a digest of a pipeline's files: their names and contents."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json", ".txt"):
            digest.update(f"{path.relative_to(folder)}\0".encode())
            with path.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()
