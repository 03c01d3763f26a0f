"""Files that `torch.save` wrote: tensors and plain data, without code, no larger than they look."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import opened

_REFUSED_CODE = re.compile(r"GLOBAL ([\w.]+)")


def load_pickled_tensors(path: Path, device: torch.device | str = "cpu") -> Any:
    """Read what `torch.save` wrote, without running any code that it may carry.

    Args:
        path: the file.
        device: where to put its tensors.

    Raises:
        HyperPoseError: the file is missing, unreadable, carries code, or would grow as it is read.
    """
    with opened(path, "file") as stream:
        try:
            if zipfile.is_zipfile(stream):
                with zipfile.ZipFile(stream) as archive:
                    _check_size(path, archive)
            stream.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.load(stream, map_location=device, weights_only=True)
        except HyperPoseError:
            raise
        except Exception as error:  # bytes that are no weights can raise anything in an unpickler
            if match := _REFUSED_CODE.search(str(error)):
                raise HyperPoseError(
                    f"{path}: refused: it asks for {match[1]}, and code in weights is never run; expected "
                    "tensors only, as torch.save(network.state_dict(), ...) writes them"
                ) from None
            reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
            raise HyperPoseError(
                f"{path}: no PyTorch weights, truncated or of another kind ({reason})"
            ) from None


def _check_size(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse what PyTorch does not write and what could fill memory: compressed or overlapping parts."""
    content = sum(part.file_size for part in archive.infolist())
    if content > path.stat().st_size:
        raise HyperPoseError(
            f"{path}: refused: {content:,} bytes are packed into {path.stat().st_size:,}, which torch.save "
            "does not do"
        )
