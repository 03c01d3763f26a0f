"""What is done of a map that is being built, on disk: who starts again goes on."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import LOCK_FILE, opened, replacing
from hyperpose_core.untrusted import reading

_FINGERPRINT_FILE = "made_from"

Arrays = Mapping[str, npt.NDArray[np.generic]]


class WorkFolder:
    """Named groups of arrays, each in a file of its own that is either whole or not there."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        """Open the folder, and empty it if it holds the work on something else.

        Args:
            path: the folder, which is made where it is missing.
            fingerprint: what the work depends on; other work has another one.

        Raises:
            HyperPoseError: the folder cannot be written.
        """
        self._path = path
        marker = path / _FINGERPRINT_FILE
        try:
            path.mkdir(parents=True, exist_ok=True)
            if not marker.is_file() or marker.read_bytes() != fingerprint.encode():
                for entry in path.iterdir():
                    if entry.name != LOCK_FILE:
                        entry.unlink()
            marker.write_text(fingerprint)
        except OSError as error:
            raise HyperPoseError(f"{path}: cannot keep work in progress there: {error}") from error

    def has(self, name: str) -> bool:
        """Tell whether a group is there."""
        return self._file(name).is_file()

    def load(self, name: str) -> dict[str, npt.NDArray[np.generic]]:
        """Read a group.

        Raises:
            HyperPoseError: it is missing or damaged.
        """
        path = self._file(name)
        try:
            with opened(path) as stream, reading(path), np.load(stream, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except HyperPoseError as error:
            raise HyperPoseError(f"{error}; remove {self._path} to start again") from error

    def save(self, name: str, arrays: Arrays) -> None:
        """Write a group.

        Raises:
            HyperPoseError: it cannot be written.
        """
        file = self._file(name)
        with replacing(file, "work in progress") as stream:
            np.savez(stream, allow_pickle=False, **arrays)

    def remove(self) -> None:
        """Remove the folder: the work is done."""
        shutil.rmtree(self._path, ignore_errors=True)

    def _file(self, name: str) -> Path:
        return self._path / f"{name}.npz"
