"""Size on disk, memory, and what a smaller network costs in time."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.context import Context
from benchmarks.measuring import measure, median_of
from benchmarks.probes import probe
from benchmarks.results import Section, Target
from benchmarks.subjects import (
    BUDGET_MB,
    COMPRESSED,
    COMPRESSED_WAYS,
    EAGER,
    WAYS,
    Subject,
    Way,
    random_images,
)
from hyperpose_core.checkpoint.file import load_checkpoint
from hyperpose_core.errors import HyperPoseError


def measure_size_and_memory(context: Context) -> Section:
    """Measure HyperPose and MS-HyperPose, whole and compressed."""
    section = Section(
        "Size and memory",
        [
            "MB are 10^6 bytes. `weights` is what the checkpoint's tensors hold; `grown` is the resident "
            "memory that loading and a first estimate added to a process, pages mapped from the file "
            "included; `peak` includes Python and PyTorch."
        ],
        [[["network", "way", "file, MB", "weights, MB", "grown, MB", "peak, MB"]]],
    )
    for architecture, scenes in (("hyperpose", 1), ("mshyperpose", 7)):
        subject = context.untrained(architecture, scenes)
        for way in tqdm((*WAYS, *(COMPRESSED_WAYS if scenes > 1 else ())), unit="way", disable=None):
            try:
                section.tables[0].append([architecture, way.name, *_footprint(subject, way)])
            except HyperPoseError as error:
                section.notes.append(f"{architecture}, {way.name}: {error}")
    _compare(context, context.untrained("mshyperpose", 7), section)
    return section


def weights_mb(subject: Subject, way: Way) -> float | None:
    """Count what the tensors of a way's checkpoint hold; None for an exported file."""
    if way.engine == "exported":
        return None
    state = load_checkpoint(subject.file(way)).state
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values()) / 1e6


def _footprint(subject: Subject, way: Way) -> list[str]:
    found = probe(subject, way)
    weights = weights_mb(subject, way)
    return [
        f"{subject.file(way).stat().st_size / 1e6:.1f}",
        "" if weights is None else f"{weights:.1f}",
        f"{found.grown_mb:.0f}",
        f"{found.peak_mb:.0f}",
    ]


def _compare(context: Context, subject: Subject, section: Section) -> None:
    full, small = subject.engine(EAGER), subject.engine(COMPRESSED)
    wanted = f"at most {BUDGET_MB} MB"
    if full is None or small is None:
        section.notes.append(f"{COMPRESSED.name}: {subject.missing.get(COMPRESSED.name)}")
        section.targets.append(Target("MS-HyperPose, compressed", wanted, "no such way here", None))
        return
    file_mb = subject.file(COMPRESSED).stat().st_size / 1e6
    memory_mb = weights_mb(subject, COMPRESSED) or 0.0
    images = random_images(1)
    with torch.inference_mode():
        turns = measure(
            {"full": partial(full, images), "small": partial(small, images)}, context.effort(15.0)
        )
    ratio = median_of(turns["small"] / turns["full"])
    medians = f"{np.median(turns['small']):.1f} against {np.median(turns['full']):.1f} ms"
    section.targets.extend(
        [
            Target("MS-HyperPose, compressed: on disk", wanted, f"{file_mb:.1f} MB", file_mb <= BUDGET_MB),
            Target("its weights in memory", wanted, f"{memory_mb:.1f} MB", memory_mb <= BUDGET_MB),
            Target(
                "its time over the full network's, both eager float32",
                "at most 1 (its interval reaches 1)",
                f"{ratio.text()}, {medians}",
                bool(ratio.low <= 1.0),
            ),
        ]
    )
