"""The multi-scene networks' transformer: of the DETR kind (Carion et al., ECCV 2020), pre-norm, with GELU.

Positions are added to queries and keys only, in every layer, and to the memory's keys; values carry content
alone.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

POSITIONS = 50
"""Rows and columns that the positional encoding knows."""


class Attention(nn.Module):
    """Multi-head attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend from queries [N, Q, width] to keys and values [N, K, width]; gives [N, Q, width]."""
        attended = functional.scaled_dot_product_attention(
            self._split(self.query(query)),
            self._split(self.key(key)),
            self._split(self.value(value)),
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.output(attended.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [N, L, width] to the same shape."""
        return self.contract(self.dropout(functional.gelu(self.expand(tokens))))


class EncoderLayer(nn.Module):
    """Self-attention over the image's tokens, then the feed-forward layers."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Map tokens [N, L, width] at positions [L, width] to the same shape."""
        content = self.attention_norm(tokens)
        placed = content + positions
        tokens = tokens + self.dropout(self.attention(placed, placed, content))
        return tokens + self.dropout(self.feed_forward(self.feed_forward_norm(tokens)))


class DecoderLayer(nn.Module):
    """Attention among the scenes' queries, attention to the image's tokens, then the feed-forward layers."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attention_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, dropout)
        self.cross_attention_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, targets: Tensor, queries: Tensor, memory: Tensor, memory_keys: Tensor) -> Tensor:
        """Decode one step.

        Args:
            targets: [N, S, width], what is known of each scene so far.
            queries: [S, width], the scenes' learned embeddings.
            memory: [N, L, width], the encoder's tokens.
            memory_keys: [N, L, width], the same with their positions added.

        Returns:
            [N, S, width].
        """
        content = self.self_attention_norm(targets)
        placed = content + queries
        targets = targets + self.dropout(self.self_attention(placed, placed, content))
        placed = self.cross_attention_norm(targets) + queries
        targets = targets + self.dropout(self.cross_attention(placed, memory_keys, memory))
        return targets + self.dropout(self.feed_forward(self.feed_forward_norm(targets)))


class Transformer(nn.Module):
    """Encoder over an image's tokens and decoder with one query a scene; LayerNorm ends both.

    Args:
        encoder_layers: number of encoder layers.
        decoder_layers: number of decoder layers.
        width: width of the tokens.
        hidden: width of the feed-forward layers.
        heads: attention heads; must divide `width`.
        dropout: probability of dropout in training.
    """

    def __init__(
        self, encoder_layers: int, decoder_layers: int, width: int, hidden: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        layer = (width, hidden, heads, dropout)
        self.encoder = nn.ModuleList(EncoderLayer(*layer) for _ in range(encoder_layers))
        self.encoder_norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(DecoderLayer(*layer) for _ in range(decoder_layers))
        self.decoder_norm = nn.LayerNorm(width)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, tokens: Tensor, positions: Tensor, queries: Tensor) -> Tensor:
        """Describe each scene's view of the image.

        Args:
            tokens: [N, L, width].
            positions: [L, width].
            queries: [S, width].

        Returns:
            [N, S, width].
        """
        for encoder_layer in self.encoder:
            tokens = encoder_layer(tokens, positions)
        memory = self.encoder_norm(tokens)
        memory_keys = memory + positions
        targets = torch.zeros_like(queries).expand(tokens.shape[0], -1, -1)
        for decoder_layer in self.decoder:
            targets = decoder_layer(targets, queries, memory, memory_keys)
        return self.decoder_norm(targets)


class LearnedPositions(nn.Module):
    """Learned encoding of a feature map's rows and columns: half of the width each, columns first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.rand(POSITIONS, width // 2))
        self.columns = nn.Parameter(torch.rand(POSITIONS, width // 2))

    def forward(self, rows: int, columns: int) -> Tensor:
        """Give the encoding [rows * columns, width] of a map of this size, row by row."""
        by_column = self.columns[:columns].unsqueeze(0).expand(rows, -1, -1)
        by_row = self.rows[:rows].unsqueeze(1).expand(-1, columns, -1)
        return torch.cat([by_column, by_row], dim=2).flatten(0, 1)
