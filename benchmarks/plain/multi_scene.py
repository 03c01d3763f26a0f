"""MS-Transformer and MS-HyperPose, plainly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.plain.backbones import STRIDE_8, STRIDE_16, efficientnet, endpoints
from benchmarks.plain.single_scene import generated_linear
from benchmarks.plain.transformer import Transformer
from hyperpose_core.models.output import PoseOutput
from hyperpose_core.models.transformer import POSITIONS

Options = Mapping[str, Any]
"""Options of the project's network, as its checkpoint carries them."""


class _Head(nn.Module):
    def __init__(self, width: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc_h = nn.Linear(width, hidden)
        self.fc_o = nn.Linear(hidden, outputs)

    def forward(self, descriptor: Tensor) -> Tensor:
        return self.fc_o(F.gelu(self.fc_h(descriptor)))


class _MultiScene(nn.Module):
    """Backbone, both transformers and the scene classifier."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        width, scenes = options["width"], options["scene_count"]
        sizes = (width, options["feed_forward_width"], options["attention_heads"])
        self.features = efficientnet(options["backbone"] == "efficientnet_lite0")
        self.row_embed = nn.Embedding(POSITIONS, width // 2)
        self.col_embed = nn.Embedding(POSITIONS, width // 2)
        self.input_proj_t = nn.Conv2d(112, width, kernel_size=1)
        self.input_proj_rot = nn.Conv2d(40, width, kernel_size=1)
        self.transformer_t = Transformer(options["position_layers"], *sizes)
        self.transformer_rot = Transformer(options["orientation_layers"], *sizes)
        self.query_embed_t = nn.Embedding(scenes, width)
        self.query_embed_rot = nn.Embedding(scenes, width)
        self.scene_embed = nn.Linear(2 * width, 1)

    def describe(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the likeliest scene's descriptors [N, width], its index [N] and all log-probabilities."""
        maps = endpoints(self.features, images)
        position = self.input_proj_t(maps[STRIDE_16])
        orientation = self.input_proj_rot(maps[STRIDE_8])
        position = self.transformer_t(position, self.query_embed_t.weight, self._positions(position))
        orientation = self.transformer_rot(
            orientation, self.query_embed_rot.weight, self._positions(orientation)
        )
        logits = self.scene_embed(torch.cat([position, orientation], dim=2)).squeeze(2)
        log_probabilities = F.log_softmax(logits, dim=1)
        scene = log_probabilities.argmax(dim=1)
        samples = torch.arange(len(images))
        return position[samples, scene], orientation[samples, scene], scene, log_probabilities

    def _positions(self, feature_map: Tensor) -> Tensor:
        """Encode the places of a map [N, C, h, w] as [width, h, w]."""
        rows, columns = feature_map.shape[-2:]
        by_column = self.col_embed(torch.arange(columns)).unsqueeze(0).repeat(rows, 1, 1)
        by_row = self.row_embed(torch.arange(rows)).unsqueeze(1).repeat(1, columns, 1)
        return torch.cat([by_column, by_row], dim=2).permute(2, 0, 1)


class PlainMSTransformer(_MultiScene):
    """One fixed head a scene, or one for all."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.heads_per_scene = options["heads_per_scene"]
        sizes = (options["width"], options["head_width"])
        for name, outputs in (("regressor_head_t", 3), ("regressor_head_rot", 4)):
            heads = [_Head(*sizes, outputs) for _ in range(options["scene_count"])]
            self.add_module(name, nn.Sequential(*heads) if self.heads_per_scene else heads[0])

    def forward(self, images: Tensor) -> PoseOutput:
        """Regress poses of images [N, 3, H, W]."""
        position, orientation, scene, log_probabilities = self.describe(images)
        return PoseOutput(
            self._regress("regressor_head_t", position, scene),
            self._regress("regressor_head_rot", orientation, scene),
            log_probabilities,
        )

    def _regress(self, name: str, descriptors: Tensor, scenes: Tensor) -> Tensor:
        heads = self.get_submodule(name)
        if not self.heads_per_scene:
            return heads(descriptors)
        answers = [
            heads.get_submodule(str(int(scene)))(descriptor)
            for descriptor, scene in zip(descriptors, scenes, strict=True)
        ]
        return torch.stack(answers)


class PlainMSHyperPose(_MultiScene):
    """Fixed heads, and three generated layers a branch."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        width = options["width"]
        hidden = options["generator_width"] or width
        branches = (("t", "position", 3), ("rot", "orientation", 4))
        for short, name, outputs in branches:
            self.add_module(f"regressor_head_{short}", _Head(width, options["head_width"], outputs))
            self.add_module(f"hyper_in_{short}_proj", nn.Linear(1280, width))
            sizes = (width, *options[f"{name}_generated_widths"], outputs)
            for index in range(3):
                generated = (sizes[index] + 1) * sizes[index + 1]
                self.add_module(f"hyper_in_{short}_fc_{index}", nn.Linear(width, hidden))
                self.add_module(f"hypernet_{short}_fc_h{index}", nn.Linear(hidden, generated))

    def forward(self, images: Tensor) -> PoseOutput:
        """Regress poses of images [N, 3, H, W]."""
        position, orientation, _, log_probabilities = self.describe(images)
        pooled = F.adaptive_avg_pool2d(self.features(images), 1).flatten(1)
        return PoseOutput(
            self.get_submodule("regressor_head_t")(position) + self._generated("t", position, pooled),
            self.get_submodule("regressor_head_rot")(orientation)
            + self._generated("rot", orientation, pooled),
            log_probabilities,
        )

    def _generated(self, branch: str, descriptor: Tensor, pooled: Tensor) -> Tensor:
        condition = descriptor + self.get_submodule(f"hyper_in_{branch}_proj")(pooled)
        weights = []
        for index in range(3):
            hidden = F.silu(self.get_submodule(f"hyper_in_{branch}_fc_{index}")(condition))
            weights.append(self.get_submodule(f"hypernet_{branch}_fc_h{index}")(hidden))
        hidden = F.silu(generated_linear(descriptor, weights[0]))
        return generated_linear(F.silu(generated_linear(hidden, weights[1])), weights[2])
