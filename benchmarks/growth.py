"""How time grows with the number of scenes, the images' size and the number of cameras."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.context import Context
from benchmarks.measuring import measure, median_of
from benchmarks.networks import PLAIN, plain_and_ways
from benchmarks.results import Section, Target
from benchmarks.subjects import CPU, EAGER, random_images
from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint
from hyperpose_core.inference.build_engine import build_engine
from hyperpose_core.inference.engines.build_network import build_network

SCENES = (1, 2, 4, 7, 16, 32, 64)
SIZES = (128, 160, 224, 288, 384)
CAMERAS = (1, 2, 3, 4, 5, 6)


def measure_growth(context: Context) -> Section:
    """Measure all three."""
    section = Section("Growth", ["Float32, the eager engine, 224x224 pixels where nothing else is said."])
    _measure_scenes(context, section)
    for architecture, scenes in (("hyperpose", 1), ("mshyperpose", 7)):
        _measure_sizes(context, section, architecture, scenes)
        _measure_cameras(context, section, architecture, scenes)
    return section


def _measure_scenes(context: Context, section: Section) -> None:
    most = load_checkpoint(context.untrained("mshyperpose", SCENES[-1]).checkpoint)
    images = random_images(1)
    tasks, sizes = {}, {}
    for count in SCENES:
        checkpoint = with_scenes(most, count)
        engine = build_engine("eager", checkpoint, CPU, "float32", (224, 224))
        tasks[count] = partial(engine, images)
        sizes[count] = hypernetwork_bytes(checkpoint)
    turns = measure(tasks, context.effort(25.0))
    rows = [["scenes (mshyperpose)", "median", "times the time of 7", "hypernetwork, MB"]]
    for count in SCENES:
        times = median_of(turns[count] / turns[7])
        rows.append(
            [str(count), f"{np.median(turns[count]):.1f} ms", times.text(), f"{sizes[count] / 1e6:.1f}"]
        )
    section.tables.append(rows)
    times = median_of(turns[64] / turns[7])
    section.targets.extend(
        [
            Target("64 scenes", "at most 1.5x the time of 7", f"{times.text()}x", bool(times.median <= 1.5)),
            Target(
                "64 scenes, hypernetwork's memory",
                f"that of 7: {sizes[7] / 1e6:.1f} MB",
                f"{sizes[64] / 1e6:.1f} MB",
                sizes[64] <= sizes[7],
            ),
        ]
    )


def with_scenes(checkpoint: Checkpoint, count: int) -> Checkpoint:
    """Give a multi-scene checkpoint only its first scenes; all other tensors are shared."""
    state = {
        name: tensor[:count] if name.endswith("_branch.queries") else tensor
        for name, tensor in checkpoint.state.items()
    }
    options = {**checkpoint.options, "scene_count": count}
    return replace(checkpoint, options=options, state=state, scenes=checkpoint.scenes[:count])


def hypernetwork_bytes(checkpoint: Checkpoint) -> int:
    """Count the bytes of a network's hypernetworks."""
    network = build_network(checkpoint)
    return sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in network.state_dict().items()
        if network.part_of(name).endswith("_hypernetwork")
    )


def _measure_sizes(context: Context, section: Section, architecture: str, scenes: int) -> None:
    subject = context.untrained(architecture, scenes)
    rows = [[f"image ({architecture})", "plain", "eager", "times faster"]]
    for size in SIZES:
        turns = measure(plain_and_ways(subject, (EAGER,), random_images(1, size, size)), context.effort(4.0))
        faster = median_of(turns[PLAIN] / turns[EAGER.name])
        medians = [f"{np.median(turns[name]):.1f} ms" for name in (PLAIN, EAGER.name)]
        rows.append([f"{size}x{size}", *medians, faster.text()])
    section.tables.append(rows)


def _measure_cameras(context: Context, section: Section, architecture: str, scenes: int) -> None:
    engine = context.untrained(architecture, scenes).engine(EAGER)
    assert engine is not None
    images = random_images(CAMERAS[-1])
    tasks = {count: partial(engine, images[:count]) for count in CAMERAS}
    turns = measure(tasks, context.effort(10.0))
    rows = [[f"cameras ({architecture})", "median of a set", "times one camera", "an image"]]
    for count in CAMERAS:
        times = median_of(turns[count] / turns[1])
        median = np.median(turns[count])
        rows.append([str(count), f"{median:.1f} ms", times.text(), f"{median / count:.1f} ms"])
    section.tables.append(rows)
