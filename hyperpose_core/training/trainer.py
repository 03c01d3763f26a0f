"""The trainer: a recipe and posed images in, a checkpoint out; interrupted, it goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from hyperpose_core import __version__
from hyperpose_core.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hyperpose_core.datasets.records import PosedImageSet
from hyperpose_core.errors import HyperPoseError
from hyperpose_core.files import opened, replacing
from hyperpose_core.images import Preprocessing
from hyperpose_core.inference.build_engine import select_device
from hyperpose_core.losses import PoseLoss
from hyperpose_core.training.building import network_of, preprocessing_of
from hyperpose_core.training.cuts import AtImages, Cut, cut_of
from hyperpose_core.training.distributed import ProcessGroup, local_device
from hyperpose_core.training.feature_cache import (
    FeatureCache,
    FeatureSource,
    check_feature_variants,
    kept_variants,
)
from hyperpose_core.training.held_out import calibrated
from hyperpose_core.training.opening import opening_notes
from hyperpose_core.training.recipe import Recipe, Stage, recipe_to_dict
from hyperpose_core.training.recommendation import EpochScore, recommend
from hyperpose_core.training.run_folder import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    EpochResult,
    RunFolder,
    stage_checkpoint,
)
from hyperpose_core.training.samples import Samples, epoch_generator
from hyperpose_core.training.split import block_numbers
from hyperpose_core.training.stages import enter_stage, learning_rate_factor, set_training_mode
from hyperpose_core.training.step import Step, StepInputs, autocast_of, freed_memory_kept
from hyperpose_core.training.validation import validate
from hyperpose_core.uncertainty.covariance import Uncertainty

_SEEDS = 1 << 32

_Load = Callable[[Sequence[int], int], StepInputs]


class Trainer:
    """One training run in a folder of its own.

    Attributes:
        recipe: what decides the run.
        network: the network being trained.
    """

    def __init__(
        self, recipe: Recipe, data: PosedImageSet, output: Path, device: str = "auto", seed: int = 0
    ) -> None:
        """Prepare everything: the decoded images and the network.

        Raises:
            HyperPoseError: the recipe does not fit the data, an image is unreadable, or ImageNet weights
                cannot be had.
        """
        check_feature_variants(recipe)
        self.recipe = recipe
        self._seed = seed
        self._device = select_device(local_device(device))
        self._group = ProcessGroup.join(self._device)
        if not 0 <= seed < _SEEDS:
            raise HyperPoseError(f"seed {seed}: expected a whole number from 0 to {_SEEDS - 1}")
        self._folder = RunFolder(output)
        if self._group.is_first:
            self._folder.claim()
        self._preprocessing = preprocessing_of(recipe)
        self._autocast = autocast_of(recipe, self._device)
        self._cache = self._folder.path / "cache"
        self._samples = self._group.first_before_others(
            lambda: Samples(data, recipe, self._preprocessing, self._cache)
        )
        torch.manual_seed(seed)
        self.network = network_of(recipe, len(data.scenes), self._samples.input_size, self._device)
        self._learnable = {name for name, value in self.network.named_parameters() if value.requires_grad}
        options = recipe.loss
        self._loss = PoseLoss(
            options.position, options.orientation, options.position_weight, options.orientation_weight
        ).to(self._device)
        self._least = self._last = EpochScore(0, np.zeros(0))

    def run(self, resume: bool = False) -> Path:
        """Train through all stages and epochs.

        Args:
            resume: go on after the last finished epoch of an interrupted run in the same folder; the weights
                come out as if it had not been interrupted.

        Returns:
            the recommended checkpoint: the last epoch's, unless an earlier one's is better beyond chance.

        Raises:
            HyperPoseError: the folder holds a run and `resume` is not set, or the run there is another one;
                or a batch's loss is not finite and the recipe says to stop.
        """
        identity = {
            "recipe": recipe_to_dict(self.recipe),
            "seed": self._seed,
            "data": self._samples.data.name,
            **_unit(self._samples.data),
            "labels": self._samples.label_digest(),
        }
        try:
            return self._run(identity, resume)
        finally:
            self._folder.release()

    def _run(self, identity: dict[str, Any], resume: bool) -> Path:
        state = self._folder.open(identity, resume, self._device) if self._group.is_first else None
        self._group.wait()
        if resume and not self._group.is_first:
            state = self._folder.state(identity, self._device)
        done = self._restore(state)
        if self._group.is_first:
            for note in opening_notes(self._samples, self.recipe, self._preprocessing):
                tqdm.write(note)
        first = 0
        with freed_memory_kept():
            for number, stage in enumerate(self.recipe.stages):
                epochs = self.recipe.stage_epochs()[number]
                if done < first + epochs:
                    self._run_stage(number, stage, range(first, first + epochs), done, state)
                first += epochs
        if self._group.is_first:
            shutil.rmtree(self._cache / "features", ignore_errors=True)
            self._finish()
        self._group.wait()
        return self._folder.path / BEST_CHECKPOINT

    def _finish(self) -> None:
        """Calibrate the last checkpoint and the recommended one, which may be the same."""
        last, best = (self._folder.path / name for name in (LAST_CHECKPOINT, BEST_CHECKPOINT))
        chosen = recommend(self._least, self._last, block_numbers(self._samples.validation))
        trained = calibrated(load_checkpoint(last), self._samples, self._seed, str(self._device))
        save_checkpoint(last, trained)
        if chosen.epoch != self._last.epoch:
            trained = calibrated(load_checkpoint(best), self._samples, self._seed, str(self._device))
        save_checkpoint(best, replace(trained, training={**trained.training, "chosen": chosen.reason}))
        self._folder.choose(chosen)
        total = sum(self.recipe.stage_epochs())
        tqdm.write(f"{BEST_CHECKPOINT} is of epoch {chosen.epoch} of {total}: {chosen.reason}")

    def _run_stage(
        self, number: int, stage: Stage, epochs: range, done: int, state: dict[str, Any] | None
    ) -> None:
        optimizer = enter_stage(stage, self.recipe, self.network, self._loss, self._learnable)
        if state is not None and done > epochs.start:
            optimizer.load_state_dict(state["optimizer"])
        set_training_mode(stage, self.recipe, self.network)
        cut, load = self._open_inputs(stage, len(epochs))
        step = self._group.synchronised(Step(self.network, self._loss, cut, self._autocast))
        for epoch in range(max(epochs.start, done), epochs.stop):
            set_training_mode(stage, self.recipe, self.network)
            loss, images_per_second = self._run_epoch(epoch, epochs, stage, load, step, optimizer)
            if self._group.is_first:
                self._finish_epoch(epoch, number, loss, images_per_second, optimizer)
            self._group.wait()
        if self._group.is_first and len(self.recipe.stages) > 1:
            # What each stage brings can only be told from what it left.
            folder = self._folder.path
            with (
                opened(folder / LAST_CHECKPOINT) as source,
                replacing(stage_checkpoint(folder, number), "checkpoint") as copy,
            ):
                shutil.copyfileobj(source, copy)

    def _open_inputs(self, stage: Stage, epochs: int) -> tuple[Cut, _Load]:
        """Return where a stage's network is cut, and what gives a step its inputs there."""
        cut, variants = cut_of(stage, self.recipe, self.network), kept_variants(self.recipe, epochs)
        if not cut.is_behind_frozen_part or not variants:
            return AtImages(), self._images
        source = FeatureSource(
            self._samples, self.network, cut, self.recipe, variants, self._seed, self._device, self._autocast
        )
        features = self._group.first_before_others(lambda: FeatureCache(self._cache / "features", source))
        return cut, features.batch

    def _images(self, indices: Sequence[int], epoch: int) -> StepInputs:
        batch = self._samples.training_batch(indices, self._seed, epoch, self._device)
        return StepInputs((batch.images,), batch.positions, batch.orientations, batch.scenes)

    def _run_epoch(
        self,
        epoch: int,
        epochs: range,
        stage: Stage,
        load: _Load,
        step: nn.Module,
        optimizer: torch.optim.Optimizer,
    ) -> tuple[float, float]:
        """Train one epoch; everything random in it follows from the seed and the epoch.

        Returns:
            mean loss, and images a second.
        """
        generator = epoch_generator(self._seed, epoch)
        torch.manual_seed(generator.initial_seed())
        order = self._samples.epoch_order(generator)
        batches = self._samples.batches(order)
        rate = stage.learning_rate or self.recipe.learning_rate
        shares = [self._group.share(indices) for indices in batches]
        inputs = _prepared_ahead(lambda indices: load(indices, epoch), shares)
        losses: list[float] = []
        title = f"epoch {epoch + 1}/{sum(self.recipe.stage_epochs())}"
        with tqdm(
            total=len(order), desc=title, unit="image", dynamic_ncols=True, disable=not self._group.is_first
        ) as progress:
            for place, (indices, ready) in enumerate(zip(batches, inputs, strict=True)):
                passed = epoch - epochs.start + place / len(batches)
                factor = learning_rate_factor(self.recipe.schedule, passed, len(epochs))
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor
                losses += self._train_on(indices, ready, step, optimizer)
                progress.update(len(indices))
                progress.set_postfix(loss=f"{np.mean(losses[-100:] or [np.nan]):.3f}", refresh=False)
            seconds = progress.format_dict["elapsed"]
        return float(np.mean(losses)) if losses else float("nan"), len(order) / max(seconds, 1e-9)

    def _train_on(
        self, indices: Sequence[int], inputs: StepInputs, step: nn.Module, optimizer: torch.optim.Optimizer
    ) -> list[float]:
        """Take one step; return its loss, or nothing where the batch was skipped."""
        total = step(*inputs)
        if not self._group.all_agree(bool(torch.isfinite(total)), self._device):
            message = f"the loss is not finite on a batch of {self._samples.names(indices)}"
            if self.recipe.on_bad_batch == "stop":
                raise HyperPoseError(message)
            tqdm.write(f"skipped: {message}")
            return []
        optimizer.zero_grad(set_to_none=True)
        (total * self._group.weight(indices)).backward()
        optimizer.step()
        return [float(total.detach())]

    def _finish_epoch(
        self, epoch: int, stage: int, loss: float, images_per_second: float, optimizer: torch.optim.Optimizer
    ) -> None:
        validation = validate(self.network, self._samples, self._device)
        position, orientation = validation.medians()
        result = EpochResult(epoch + 1, stage + 1, loss, position, orientation, images_per_second)
        errors = validation.position_m / self._samples.normalisation.scale
        self._last = EpochScore(result.epoch, errors + np.radians(validation.orientation_deg))
        # Written so that the later one counts where nothing is held out, or no answer is finite.
        is_best = not self._last.median > self._least.median
        if is_best:
            self._least = self._last
        self._folder.record(result)
        state = {
            "epochs": result.epoch,
            "least_epoch": self._least.epoch,
            "least_errors": torch.from_numpy(self._least.errors),
            "last_errors": torch.from_numpy(self._last.errors),
            "network": self.network.state_dict(),
            "loss": self._loss.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        self._folder.save(self._checkpoint(result, validation.uncertainty), state, is_best)
        held_out = (
            f"held-out medians {position:.3f} m, {orientation:.2f} deg, " if np.isfinite(position) else ""
        )
        tqdm.write(f"epoch {result.epoch}: loss {loss:.3f}, {held_out}{images_per_second:.1f} images/s")

    def _checkpoint(self, result: EpochResult, uncertainty: Uncertainty) -> Checkpoint:
        data = self._samples.data
        return Checkpoint(
            architecture=self.recipe.model,
            options=self.network.options,
            state=self.network.state_dict(),
            preprocessing=self._inference_preprocessing(),
            scenes=data.scenes,
            world=data.world,
            normalisation=self._samples.normalisation,
            uncertainty=uncertainty,
            camera=data.camera,
            region=self._samples.region,
            training={
                "recipe": recipe_to_dict(self.recipe),
                "data": data.name,
                **_unit(data),
                "images": len(self._samples.training),
                "image_size": list(self._samples.image_size),
                "epochs": result.epoch,
                "seed": self._seed,
                "version": __version__,
            },
            validation={
                "frames": len(self._samples.validation),
                "position_error_median_m": _finite_or_none(result.position_median_m),
                "orientation_error_median_deg": _finite_or_none(result.orientation_median_deg),
            },
        )

    def _inference_preprocessing(self) -> Preprocessing:
        """Return how images become what the network takes: where that is one size only, exactly that size."""
        if self._preprocessing.crop is None and self.network.options.get("input_size") is not None:
            return replace(self._preprocessing, resize=self._samples.input_size)
        return self._preprocessing

    def _restore(self, state: dict[str, Any] | None) -> int:
        """Take over an interrupted run's state; return how many epochs it had finished."""
        if state is None:
            return 0
        self.network.load_state_dict(state["network"])
        self._loss.load_state_dict(state["loss"])
        least, last = (state[name].cpu().numpy() for name in ("least_errors", "last_errors"))
        self._least = EpochScore(int(state["least_epoch"]), least)
        self._last = EpochScore(int(state["epochs"]), last)
        return self._last.epoch


def _prepared_ahead(
    prepare: Callable[[Sequence[int]], StepInputs], batches: Iterable[Sequence[int]]
) -> Iterator[StepInputs]:
    """Yield what a step takes for each batch, in their order, one ahead in a thread of its own.

    Args:
        prepare: must take its randomness from its argument alone; torch's global generator is the network's.
        batches: indices of each batch's samples.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as executor:
        upcoming: Future[StepInputs] | None = None
        for indices in batches:
            ready, upcoming = upcoming, executor.submit(prepare, indices)
            if ready is not None:
                yield ready.result()
        if upcoming is not None:
            yield upcoming.result()


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _unit(data: PosedImageSet) -> dict[str, str]:
    """Return what is to be said of lengths that are no metres, nothing where they are."""
    return {"unit": data.world.unit_note} if data.world.unit_note else {}
