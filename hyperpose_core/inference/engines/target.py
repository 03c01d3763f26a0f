"""What a network is prepared for: device, arithmetic, and whether oneDNN packs its weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from hyperpose_core.errors import HyperPoseError


@dataclass(frozen=True)
class Target:
    """Where and how a prepared network computes.

    Attributes:
        device: where its weights are.
        dtype: of weights and activations; what becomes part of a pose is float32 all the same.
        packed: layers are oneDNN's, their weights packed once in the order in which its kernels read them
            and an activation or an addition done in the same pass. On the CPUs it was measured on that is
            worth a factor of two, and more where MKL, which stock layers use, does not know the CPU.
        input_size: (height, width) of the images in pixels that weights are packed for; others work too.
        linears: storage, of `compressed.STORAGES`, that a compressed network's linear layers stay in;
            they are made dense in each call, and not packed.
        convolutions: that of its convolutions.
    """

    device: torch.device
    dtype: torch.dtype = torch.float32
    packed: bool = False
    input_size: tuple[int, int] = (224, 224)
    linears: str = "float32"
    convolutions: str = "float32"


def has_packed_layers() -> bool:
    """Tell whether this build of PyTorch and this CPU have oneDNN's fused layers."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def select_dtype(precision: str, device: torch.device) -> torch.dtype:
    """Turn one of `PRECISIONS` into a type that the device computes in fast; "auto" is float32.

    Raises:
        HyperPoseError: the device has no arithmetic of that precision.
    """
    if precision == "auto":
        return torch.float32
    if precision == "float16" and device.type == "cpu":
        raise HyperPoseError("precision float16 is for CUDA; on the CPU use bfloat16 or float32")
    if precision == "bfloat16" and not _computes_bfloat16(device):
        raise HyperPoseError(
            f"precision bfloat16: {device} has no such arithmetic (AVX512-BF16 on a CPU, compute capability "
            "8.0 on a GPU); use float32"
        )
    return getattr(torch, precision)


def _computes_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.cpu._is_avx512_bf16_supported()
