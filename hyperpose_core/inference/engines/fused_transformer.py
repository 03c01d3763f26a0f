"""The multi-scene networks' transformer branch, prepared.

What depends on no image is computed once: how positions enter queries and keys (for each size of the map),
and the first decoder layer up to its query to the image, since its targets are zeros. Queries, keys and
values come from one product, the memory's keys and values for all decoder layers from one, too.
"""

from __future__ import annotations

import copy
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from hyperpose_core.inference.engines.attention import attend, split_heads
from hyperpose_core.inference.engines.fused_layers import FusedLinear, bias_of
from hyperpose_core.inference.engines.target import Target
from hyperpose_core.models.compressed import weight_of
from hyperpose_core.models.multiscene import Branch
from hyperpose_core.models.transformer import (
    Attention,
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    LearnedPositions,
)


class _Tables(NamedTuple):
    """What a map's positions add to the outputs of linear layers, each [1, L, outputs]."""

    encoder: list[Tensor]
    memory: Tensor


class FusedBranch(nn.Module):
    """One branch: 1x1 convolution, transformer, one learned query a scene."""

    _targets: Tensor
    _query: Tensor

    def __init__(self, branch: Branch, stride: int, target: Target) -> None:
        """Prepare.

        Args:
            branch: what to prepare; it is left as it is.
            stride: of the endpoint that the branch reads.
            target: what to prepare for.
        """
        super().__init__()
        transformer = branch.transformer
        encoder = cast(list[EncoderLayer], list(transformer.encoder))
        decoder = cast(list[DecoderLayer], list(transformer.decoder))
        rows = (target.input_size[0] // stride) * (target.input_size[1] // stride)
        weight = weight_of(branch.projection).flatten(1)
        self._target = target
        self._projection = FusedLinear(weight, bias_of(branch.projection), target, rows=rows)
        self._encoder = nn.ModuleList(FusedEncoderLayer(layer, target, rows) for layer in encoder)
        self._encoder_norm = prepared_norm(transformer.encoder_norm, target)
        self._memory = MemoryProjection([layer.cross_attention for layer in decoder], target, rows)
        first, *others = decoder
        self._first = FusedDecoderLayer(first, branch.queries, target)
        targets, query = first_decoder_step(first, branch.queries)
        self.register_buffer("_targets", targets.to(target.device, target.dtype))
        self.register_buffer("_query", query.to(target.device, target.dtype))
        self._decoder = nn.ModuleList(FusedDecoderLayer(layer, branch.queries, target) for layer in others)
        self._decoder_norm = prepared_norm(transformer.decoder_norm, target)
        self._tables: dict[tuple[int, int], _Tables] = {}

    def forward(self, feature_map: Tensor, positions: LearnedPositions) -> Tensor:
        """Map an endpoint [N, C, h, w], channels last, to descriptors [N, S, width]."""
        count, (rows, columns) = len(feature_map), feature_map.shape[-2:]
        tables = self._tables.get((rows, columns))
        if tables is None:
            tables = self._tables[rows, columns] = self._make_tables(positions(rows, columns))
        tokens = self._projection(feature_map.permute(0, 2, 3, 1).flatten(1, 2))
        for layer, table in zip(self._encoder, tables.encoder, strict=True):
            tokens = layer(tokens, _repeated(table, count))
        keys_and_values = self._memory(self._encoder_norm(tokens), _repeated(tables.memory, count))
        targets = self._first.from_query(
            _repeated(self._targets, count), _repeated(self._query, count), keys_and_values[0]
        )
        for layer, known in zip(self._decoder, keys_and_values[1:], strict=True):
            targets = layer(targets, known)
        return self._decoder_norm(targets)

    def _make_tables(self, positions: Tensor) -> _Tables:
        dtype = self._target.dtype
        layers = cast(list[FusedEncoderLayer], list(self._encoder))
        encoder = [layer.table(positions).to(dtype).unsqueeze(0) for layer in layers]
        return _Tables(encoder, self._memory.table(positions).to(dtype).unsqueeze(0))


class SelfProjection(nn.Module):
    """Queries, scaled, keys and values of tokens that attend to each other: one product.

    Positions enter queries and keys through a table that is added to the result.
    """

    _placed: Tensor
    _bias: Tensor

    def __init__(self, attention: Attention, target: Target, rows: int) -> None:
        """Prepare for so many tokens."""
        super().__init__()
        scale = (weight_of(attention.query).shape[1] / attention.heads) ** -0.5
        self._heads = attention.heads
        self._is_packed = target.packed
        weights = [weight_of(attention.query) * scale, weight_of(attention.key), weight_of(attention.value)]
        self._projection = FusedLinear(torch.cat(weights), None, target, rows=rows)
        placed = _without_values(torch.cat(weights), 3, slice(2, 3))
        biases = [bias_of(attention.query) * scale, bias_of(attention.key), bias_of(attention.value)]
        held = self._projection.held
        self.register_buffer("_placed", None if held else placed.detach().to(target.device))
        self.register_buffer("_bias", torch.cat(biases).detach().to(target.device))

    def table(self, positions: Tensor) -> Tensor:
        """Give what is to be added at positions [L, width]: [L, 3 * width], float32."""
        held, placed = self._projection.held, self._placed
        if held is not None:  # a second copy would cost what holding saves
            placed = _without_values(held().float(), 3, slice(2, 3))
        return positions @ placed.t() + self._bias

    def forward(self, tokens: Tensor, table: Tensor) -> Tensor:
        """Attend among tokens [N, L, width], with a table [N, L, 3 * width]; gives [N, L, width]."""
        query, key, value = self._projection(tokens, table).chunk(3, dim=2)
        heads = self._heads
        parts = (split_heads(query, heads), split_heads(key, heads), split_heads(value, heads))
        return attend(*parts, self._is_packed)


class MemoryProjection(nn.Module):
    """Keys and values of the image's tokens for all decoder layers: one product."""

    _placed: Tensor
    _bias: Tensor

    def __init__(self, attentions: list[Attention], target: Target, rows: int) -> None:
        """Prepare for so many tokens."""
        super().__init__()
        self._heads = attentions[0].heads
        weights, biases = [], []
        for attention in attentions:
            key, value = weight_of(attention.key), weight_of(attention.value)
            weights += [key, value]
            biases += [bias_of(attention.key), bias_of(attention.value)]
        self._projection = FusedLinear(torch.cat(weights), None, target, rows=rows)
        self._parts = len(weights)
        placed = _without_values(torch.cat(weights), self._parts, slice(1, None, 2))
        held = self._projection.held
        self.register_buffer("_placed", None if held else placed.detach().to(target.device))
        self.register_buffer("_bias", torch.cat(biases).detach().to(target.device))

    def table(self, positions: Tensor) -> Tensor:
        """Give what is to be added at positions [L, width]: [L, 2 * layers * width], float32."""
        held, placed = self._projection.held, self._placed
        if held is not None:  # a second copy would cost what holding saves
            placed = _without_values(held().float(), self._parts, slice(1, None, 2))
        return positions @ placed.t() + self._bias

    def forward(self, memory: Tensor, table: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Give each layer's keys and values [N, heads, L, width / heads] of a memory [N, L, width]."""
        parts = self._projection(memory, table).chunk(self._parts, dim=2)
        split = [split_heads(part, self._heads) for part in parts]
        return list(zip(split[::2], split[1::2], strict=True))


class FusedFeedForward(nn.Module):
    """LayerNorm, linear, GELU, linear, added to the input."""

    def __init__(self, norm: nn.LayerNorm, layers: FeedForward, target: Target, rows: int) -> None:
        """Prepare for so many tokens."""
        super().__init__()
        self._norm = prepared_norm(norm, target)
        self._expand = FusedLinear.of(layers.expand, target, "gelu", rows)
        self._contract = FusedLinear.of(layers.contract, target, rows=rows)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [N, L, width] to the same shape."""
        return self._contract(self._expand(self._norm(tokens)), tokens)


class FusedEncoderLayer(nn.Module):
    """Self-attention over the image's tokens, then the feed-forward layers."""

    def __init__(self, layer: EncoderLayer, target: Target, rows: int) -> None:
        """Prepare for so many tokens."""
        super().__init__()
        self._norm = prepared_norm(layer.attention_norm, target)
        self._attention = SelfProjection(layer.attention, target, rows)
        self._output = FusedLinear.of(layer.attention.output, target, rows=rows)
        self._feed_forward = FusedFeedForward(layer.feed_forward_norm, layer.feed_forward, target, rows)
        self.table = self._attention.table

    def forward(self, tokens: Tensor, table: Tensor) -> Tensor:
        """Map tokens [N, L, width], with a table [N, L, 3 * width], to the same shape."""
        return self._feed_forward(self._output(self._attention(self._norm(tokens), table), tokens))


class FusedDecoderLayer(nn.Module):
    """Attention among the scenes' queries, attention to the image's tokens, then the feed-forward layers."""

    _self_table: Tensor
    _cross_table: Tensor

    def __init__(self, layer: DecoderLayer, queries: Tensor, target: Target) -> None:
        """Prepare for the scenes' learned queries [S, width]."""
        super().__init__()
        rows = len(queries)
        self._heads = layer.cross_attention.heads
        self._is_packed = target.packed
        self._self_norm = prepared_norm(layer.self_attention_norm, target)
        self._self_attention = SelfProjection(layer.self_attention, target, rows)
        self._self_output = FusedLinear.of(layer.self_attention.output, target, rows=rows)
        self._cross_norm = prepared_norm(layer.cross_attention_norm, target)
        weight, bias = _scaled_query(layer.cross_attention)
        self._cross_query = FusedLinear(weight, None, target, rows=rows)
        self._cross_output = FusedLinear.of(layer.cross_attention.output, target, rows=rows)
        self._feed_forward = FusedFeedForward(layer.feed_forward_norm, layer.feed_forward, target, rows)
        queries = queries.detach().to(target.device)
        cross_table = queries @ weight.to(target.device).t() + bias.to(target.device)
        self.register_buffer("_self_table", self._self_attention.table(queries).to(target.dtype).unsqueeze(0))
        self.register_buffer("_cross_table", cross_table.to(target.dtype).unsqueeze(0))

    def forward(self, targets: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
        """Decode targets [N, S, width] one step further, by the memory's keys and values."""
        count = len(targets)
        attended = self._self_attention(self._self_norm(targets), _repeated(self._self_table, count))
        targets = self._self_output(attended, targets)
        query = self._cross_query(self._cross_norm(targets), _repeated(self._cross_table, count))
        return self.from_query(targets, query, known)

    def from_query(self, targets: Tensor, query: Tensor, known: tuple[Tensor, Tensor]) -> Tensor:
        """Do what follows the query [N, S, width] to the image."""
        attended = attend(split_heads(query, self._heads), *known, self._is_packed)
        return self._feed_forward(self._cross_output(attended, targets))


def first_decoder_step(layer: DecoderLayer, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Run the first decoder layer on its zero targets up to its query to the image.

    Args:
        layer: the first layer.
        queries: the scenes' learned embeddings [S, width].

    Returns:
        targets and scaled query, [1, S, width], float32.
    """
    with torch.no_grad():
        content = layer.self_attention_norm(torch.zeros_like(queries)).unsqueeze(0)
        placed = content + queries
        targets = layer.self_attention(placed, placed, content)
        weight, bias = _scaled_query(layer.cross_attention)
        return targets, (layer.cross_attention_norm(targets) + queries) @ weight.t() + bias


def prepared_norm(norm: nn.LayerNorm, target: Target) -> nn.LayerNorm:
    """Copy a LayerNorm to a target."""
    return copy.deepcopy(norm).to(target.device, target.dtype)


def _scaled_query(attention: Attention) -> tuple[Tensor, Tensor]:
    """Give weight and bias of an attention's query, divided by what the scores would be divided by."""
    weight = weight_of(attention.query).detach()
    scale = (weight.shape[1] / attention.heads) ** -0.5
    return weight * scale, bias_of(attention.query).detach() * scale


def _without_values(weight: Tensor, parts: int, values: slice) -> Tensor:
    """Set to zero, of a weight [parts * width, in], the parts that give values, which know no positions."""
    split = weight.detach().clone().unflatten(0, (parts, -1))
    split[values] = 0
    return split.flatten(0, 1)


def _repeated(table: Tensor, count: int) -> Tensor:
    """Repeat [1, L, width] for each of N images."""
    return table if count == 1 else table.repeat(count, 1, 1)
