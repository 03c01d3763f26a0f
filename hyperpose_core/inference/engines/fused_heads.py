"""Heads and hypernetworks, prepared: layers that read the same vector are one product.

A generator that is not a plain linear layer, such as a compressed one, stays what it is.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hyperpose_core.inference.engines.fused_layers import FusedLinear, bias_of
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.atloc import SelfAttention
from hyperpose_core.models.compressed import weight_of
from hyperpose_core.models.hypernetwork import GeneratedHead, GeneratedLinear
from hyperpose_core.models.mshyperpose import GeneratedBranch


class FusedGeneratedLinear(nn.Module):
    """y = [x, 1] W, where W = generator(h)."""

    def __init__(self, layer: GeneratedLinear, target: Target) -> None:
        """Prepare a generated layer from the generator on."""
        super().__init__()
        self._in_features = layer.in_features
        self._out_features = layer.out_features
        self._keep_precision = layer.keep_precision
        self._generator = prepared_generator(layer.generator, target)

    def forward(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """Map x [N, in_features] to [N, out_features] by h [N, hidden_features], the activation's output."""
        weights = self._generator(hidden).view(-1, self._in_features + 1, self._out_features)
        if self._keep_precision:
            inputs, weights = inputs.float(), weights.float()
        return torch.baddbmm(weights[:, -1:], inputs.unsqueeze(1), weights[:, :-1]).squeeze(1)


class FusedGeneratedHead(nn.Module):
    """The generated head of the single-scene networks.

    No activation stands between `condition` and the hypernetwork's hidden layer, so they are one layer, and
    that and `inputs` are one product.
    """

    def __init__(self, head: GeneratedHead, target: Target) -> None:
        """Prepare."""
        super().__init__()
        with torch.no_grad():
            hidden = weight_of(head.layer.hidden).double()
            weight = (hidden @ weight_of(head.condition).double()).float()
            bias = hidden @ bias_of(head.condition).double() + bias_of(head.layer.hidden).double()
            weights = torch.cat([weight, weight_of(head.inputs)])
            self._projection = FusedLinear(weights, torch.cat([bias.float(), bias_of(head.inputs)]), target)
        self._hidden_features = len(weight)
        self._layer = FusedGeneratedLinear(head.layer, target)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [N, in_features] to [N, out_features], float32."""
        projected = self._projection(features)
        hidden = functional.silu(projected[:, : self._hidden_features])
        return self._layer(projected[:, self._hidden_features :], hidden)


class FusedGeneratedBranch(nn.Module):
    """The hypernetwork of a multi-scene branch: three generated layers, their hidden layers one product."""

    def __init__(self, branch: GeneratedBranch, target: Target) -> None:
        """Prepare."""
        super().__init__()
        layers = [cast(GeneratedLinear, layer) for layer in branch.layers]
        self._condition = FusedLinear.of(branch.condition, target)
        self._hidden = FusedLinear.of([layer.hidden for layer in layers], target, "silu")
        self._layers = nn.ModuleList(FusedGeneratedLinear(layer, target) for layer in layers)

    def forward(self, descriptor: Tensor, pooled: Tensor) -> Tensor:
        """Map descriptors [N, width] and pooled features [N, C] to [N, out_features], float32."""
        hidden = self._hidden(self._condition(pooled, descriptor)).chunk(3, dim=1)
        first, second, last = self._layers
        values = functional.silu(first(descriptor, hidden[0]))
        values = functional.silu(second(values, hidden[1]))
        return last(values, hidden[2])


class FusedSelfAttention(nn.Module):
    """AtLoc's attention of a feature vector's components to each other; its projections are one product."""

    def __init__(self, attention: SelfAttention, target: Target) -> None:
        """Prepare."""
        super().__init__()
        self._projection = FusedLinear.of([attention.g, attention.theta, attention.phi], target)
        self._expand = FusedLinear.of(attention.expand, target)

    def forward(self, features: Tensor) -> Tensor:
        """Attend over [N, features]; the result has the same shape."""
        g, theta, phi = self._projection(features).chunk(3, dim=1)
        scores = phi.unsqueeze(2) * theta.unsqueeze(1)
        attended = torch.bmm(scores.softmax(dim=-1), g.unsqueeze(2)).squeeze(2)
        return self._expand(attended, features)


def prepared_generator(generator: nn.Module, target: Target) -> nn.Module:
    """Prepare a generator; one that is not a plain linear layer is only put on the device."""
    if type(generator) is nn.Linear:
        return FusedLinear.of(generator, target)
    return generator.to(target.device)
