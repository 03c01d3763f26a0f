"""The multi-scene networks' transformer as DETR writes it: pre-norm, sequence first, stock attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EncoderLayer(nn.Module):
    """Self-attention, then two linear layers."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Map tokens [L, N, width] at positions [L, 1, width] to the same shape."""
        normed = self.norm1(tokens)
        placed = normed + positions
        tokens = tokens + self.self_attn(placed, placed, value=normed)[0]
        return tokens + self.linear2(F.gelu(self.linear1(self.norm2(tokens))))


class DecoderLayer(nn.Module):
    """Attention among the queries, attention to the memory, then two linear layers."""

    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads)
        self.multihead_attn = nn.MultiheadAttention(width, heads)
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, targets: Tensor, queries: Tensor, memory: Tensor, positions: Tensor) -> Tensor:
        """Map targets [S, N, width], queries of that shape, memory and positions [L, N or 1, width]."""
        normed = self.norm1(targets)
        placed = normed + queries
        targets = targets + self.self_attn(placed, placed, value=normed)[0]
        normed = self.norm2(targets)
        targets = targets + self.multihead_attn(normed + queries, memory + positions, value=memory)[0]
        return targets + self.linear2(F.gelu(self.linear1(self.norm3(targets))))


class _Stack(nn.Module):
    def __init__(self, layers: list[nn.Module], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, *others: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens, *others)
        return self.norm(tokens)


class Transformer(nn.Module):
    """Encoder and decoder, each ending in a LayerNorm."""

    def __init__(self, layers: tuple[int, int], width: int, hidden: int, heads: int) -> None:
        super().__init__()
        sizes = (width, hidden, heads)
        self.encoder = _Stack([EncoderLayer(*sizes) for _ in range(layers[0])], width)
        self.decoder = _Stack([DecoderLayer(*sizes) for _ in range(layers[1])], width)

    def forward(self, feature_map: Tensor, queries: Tensor, positions: Tensor) -> Tensor:
        """Map [N, width, h, w], with queries [S, width] and positions [width, h, w], to [N, S, width]."""
        tokens = feature_map.flatten(2).permute(2, 0, 1)
        placed = positions.flatten(1).t().unsqueeze(1)
        repeated = queries.unsqueeze(1).repeat(1, tokens.shape[1], 1)
        memory = self.encoder(tokens, placed)
        return self.decoder(torch.zeros_like(repeated), repeated, memory, placed).transpose(0, 1)
