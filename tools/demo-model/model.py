"""The llama architecture in PyTorch, with rotary pairs interleaved as GGUF has them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


BOS = 0


@dataclass(frozen=True)
class Shape:
    vocabulary: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    feed_forward: int
    context: int = 512
    rope_base: float = 10000.0
    epsilon: float = 1e-5


# Rows of the target's matrices are multiples of 256, the block of the K-quants.
SHAPES = {
    "target": Shape(2048, hidden=256, layers=4, heads=8, kv_heads=4, head_dim=32, feed_forward=768),
    "draft": Shape(2048, hidden=96, layers=2, heads=3, kv_heads=1, head_dim=32, feed_forward=256),
}


class RMSNorm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        x32 = x.float()
        scale = torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.epsilon)
        return (x32 * scale * self.weight).to(x.dtype)


def rotary_table(shape: Shape):
    """cos and sin by position and pair, each [context, head_dim / 2]."""
    exponent = torch.arange(0, shape.head_dim, 2) / shape.head_dim
    angle = torch.outer(torch.arange(shape.context), shape.rope_base ** -exponent)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Rotates neighbouring pairs of the last axis of x [batch, heads, time, head_dim]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Block(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.shape = s
        self.attn_norm = RMSNorm(s.hidden, s.epsilon)
        self.attn_q = nn.Linear(s.hidden, s.heads * s.head_dim, bias=False)
        self.attn_k = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.attn_v = nn.Linear(s.hidden, s.kv_heads * s.head_dim, bias=False)
        self.attn_output = nn.Linear(s.heads * s.head_dim, s.hidden, bias=False)
        self.ffn_norm = RMSNorm(s.hidden, s.epsilon)
        self.ffn_gate = nn.Linear(s.hidden, s.feed_forward, bias=False)
        self.ffn_up = nn.Linear(s.hidden, s.feed_forward, bias=False)
        self.ffn_down = nn.Linear(s.feed_forward, s.hidden, bias=False)

    def forward(self, x, cos, sin, mask):
        batch, time, _ = x.shape
        s = self.shape
        n = self.attn_norm(x)
        q = self.attn_q(n).view(batch, time, s.heads, s.head_dim).transpose(1, 2)
        k = self.attn_k(n).view(batch, time, s.kv_heads, s.head_dim).transpose(1, 2)
        v = self.attn_v(n).view(batch, time, s.kv_heads, s.head_dim).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = s.heads // s.kv_heads
        k, v = (t.repeat_interleave(group, dim=1) for t in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, time, -1))
        n = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(n)) * self.ffn_up(n))


class Llama(nn.Module):
    """A decoder whose output projection is its embedding."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.hidden)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = RMSNorm(shape.hidden, shape.epsilon)
        cos, sin = rotary_table(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self._initialise()

    def _initialise(self):
        """Large embeddings and silent blocks, so that the residual stream keeps

        saying which token it stands for: with small embeddings the blocks
        drown them, and the model never learns to copy a name. The output norm
        starts low instead, to bring the logits of the tied embedding to size.
        """
        for name, weight in self.named_parameters():
            if "attn_output" in name or "ffn_down" in name:
                nn.init.zeros_(weight)
            elif weight.ndim == 2:
                embedding = name.startswith("token_embd")
                nn.init.normal_(weight, std=0.5 if embedding else weight.shape[1] ** -0.5)
        nn.init.constant_(self.output_norm.weight, 2 * self.shape.hidden ** -0.5)

    def forward(self, tokens):
        """Logits at each of `tokens` [batch, time].

        A token sees only its own document, as at inference: the names of the
        story before would make it harder to learn to look names up.
        """
        time = tokens.shape[1]
        document = (tokens == BOS).cumsum(1)
        mask = document[:, None, :, None] == document[:, None, None, :]
        mask = mask & torch.ones(time, time, dtype=torch.bool, device=tokens.device).tril()
        x = self.token_embd(tokens)
        cos, sin = self.cos[:time], self.sin[:time]
        for block in self.blk:
            x = block(x, cos, sin, mask)
        return F.linear(self.output_norm(x), self.token_embd.weight)
