"""Which frames are for training and which for testing, where a dataset does not say it itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from hyperpose_core.datasets.options import parse_count, parse_names, parse_number
from hyperpose_core.datasets.records import PosedImage
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import read_text

_LARGEST_BLOCK = 50
_FEWEST_BLOCKS = 20


class MissingSplitError(HyperPoseError):
    """The dataset does not have this split; nothing is damaged."""


@dataclass(frozen=True)
class SplitPolicy:
    """How frames are divided. Neighbours in a video are nearly one image, so whole blocks are taken.

    Attributes:
        block: consecutive frames a block; None for a twentieth of the frames, at most 50.
        test_every: of so many blocks, the middle one is for testing.
        test_fraction: the last fraction of every sequence is for testing instead.
        test_sequences: these sequences are for testing instead.
        test_names: these images are for testing instead.
    """

    block: int | None = None
    test_every: int = 5
    test_fraction: float | None = None
    test_sequences: tuple[str, ...] = ()
    test_names: frozenset[str] | None = None

    @classmethod
    def from_options(
        cls,
        block: str | int | None = None,
        test_every: str | int | None = None,
        test_fraction: str | float | None = None,
        test_sequences: str | Sequence[str] | None = None,
        split_file: Path | str | None = None,
    ) -> SplitPolicy:
        """Build from an adapter's options.

        Args:
            block: see the class.
            test_every: see the class; 5 where None.
            test_fraction: see the class.
            test_sequences: see the class; separated by commas where it is text.
            split_file: a text file that names a test image a line, `#` before a comment.

        Raises:
            HyperPoseError: a value is wrong, two ways of dividing are given, or the file is unreadable.
        """
        ways = {
            "block or test_every": block if block is not None else test_every,
            "test_fraction": test_fraction,
            "test_sequences": parse_names(test_sequences) or None,
            "split_file": split_file,
        }
        given = [name for name, value in ways.items() if value is not None]
        if len(given) > 1:
            raise HyperPoseError(f"options {' and '.join(given)} exclude each other; give one")
        fraction = None if test_fraction is None else parse_number("test_fraction", test_fraction, above=0.0)
        if fraction is not None and fraction >= 1.0:
            raise HyperPoseError(f"option test_fraction is {test_fraction!r}; give a number between 0 and 1")
        return cls(
            block=None if block is None else parse_count("block", block),
            test_every=5 if test_every is None else parse_count("test_every", test_every, smallest=2),
            test_fraction=fraction,
            test_sequences=parse_names(test_sequences),
            test_names=None if split_file is None else _read_names(Path(split_file)),
        )

    def select(
        self, images: Sequence[PosedImage], split: str | None, names: Sequence[str] = ()
    ) -> tuple[PosedImage, ...]:
        """Return the images of a split, in their order.

        Args:
            images: all images, sequence by sequence, in the order of their recording.
            split: "train", "test", or None for all.
            names: the images' names, by which `test_names` knows them.

        Raises:
            HyperPoseError: there is no such split, or nothing falls to it; a sequence or every name given
                for testing is unknown.
        """
        if split is None:
            return tuple(images)
        if split not in ("train", "test"):
            raise MissingSplitError(f"there is no split {split!r}; use train or test")
        held_out = self._held_out(images, names)
        chosen = tuple(
            image for image, test in zip(images, held_out, strict=True) if test == (split == "test")
        )
        if not chosen:
            raise MissingSplitError(
                f"none of {len(images)} frames is for split {split!r}; change block ({self.block}), "
                f"test_every ({self.test_every}) or another option that divides them"
            )
        return chosen

    def _held_out(self, images: Sequence[PosedImage], names: Sequence[str]) -> list[bool]:
        if self.test_names is not None:
            held_out = [name in self.test_names for name in names]
            if not any(held_out):
                example = min(self.test_names, default="nothing")
                raise HyperPoseError(
                    f"split_file names no image of the dataset: it has {example!r}, the dataset "
                    f"{names[0] if names else 'nothing'!r}"
                )
            return held_out
        if self.test_sequences:
            present = {image.sequence for image in images}
            unknown = [name for name in self.test_sequences if name not in present]
            if unknown:
                raise HyperPoseError(
                    f"test_sequences: no sequence {unknown[0]!r}; there are: {', '.join(sorted(present))}"
                )
            return [image.sequence in self.test_sequences for image in images]
        lengths = [
            len(list(group)) for _, group in groupby(images, key=lambda image: (image.scene, image.sequence))
        ]
        if self.test_fraction is not None:
            ends = [(length, round(length * (1.0 - self.test_fraction))) for length in lengths]
            return [place >= end for length, end in ends for place in range(length)]
        return self._held_out_blocks(lengths)

    def _held_out_blocks(self, lengths: Sequence[int]) -> list[bool]:
        size = self.block or max(1, min(_LARGEST_BLOCK, sum(lengths) // _FEWEST_BLOCKS))
        held_out: list[bool] = []
        blocks_before = 0
        for length in lengths:
            blocks = [blocks_before + place // size for place in range(length)]
            held_out += [block % self.test_every == self.test_every // 2 for block in blocks]
            blocks_before = blocks[-1] + 1
        return held_out


def _read_names(path: Path) -> frozenset[str]:
    texts = [line.split("#")[0].strip() for line in read_text(path, "split_file").splitlines()]
    # Lists such as Cambridge's dataset_test.txt hold a pose after the name.
    names = {name for text in texts if text for name in (text, text.split()[0])}
    if not names:
        raise HyperPoseError(f"split_file {path}: names no image; expected one a line")
    return frozenset(names)
