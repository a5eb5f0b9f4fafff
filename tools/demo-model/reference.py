"""A plain NumPy llama that reads the GGUF file itself.

It shares no code with model.py or export.py, so agreement between the two
checks the export: names, shapes, metadata, rotary layout and quantisation.
"""

import gguf
import numpy as np


class Reference:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.field = {name: f.contents() for name, f in reader.fields.items()}
        self.weight = {
            t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
            for t in reader.tensors
        }

    def logits(self, tokens):
        """Logits after each of `tokens`, a list of ids, in float32."""
        f, w = self.field, self.weight
        heads, kv_heads = f["llama.attention.head_count"], f["llama.attention.head_count_kv"]
        size = f["llama.rope.dimension_count"]
        time = len(tokens)
        frequency = f["llama.rope.freq_base"] ** (-np.arange(0, size, 2) / size)
        turn = np.exp(1j * np.outer(np.arange(time), frequency))[:, None, :]
        future = np.triu(np.full((time, time), -np.inf, np.float32), 1)
        x = w["token_embd.weight"][tokens]
        for layer in range(f["llama.block_count"]):
            def linear(name, value):
                return value @ w[f"blk.{layer}.{name}.weight"].T

            n = self._norm(x, w[f"blk.{layer}.attn_norm.weight"])
            q = _rotate(linear("attn_q", n).reshape(time, heads, size), turn)
            k = _rotate(linear("attn_k", n).reshape(time, kv_heads, size), turn)
            v = linear("attn_v", n).reshape(time, kv_heads, size)
            mixed = np.empty((time, heads, size), np.float32)
            for head in range(heads):
                shared = head * kv_heads // heads
                score = q[:, head] @ k[:, shared].T / np.sqrt(size) + future
                score = np.exp(score - score.max(-1, keepdims=True))
                mixed[:, head] = score / score.sum(-1, keepdims=True) @ v[:, shared]
            x = x + linear("attn_output", mixed.reshape(time, heads * size))
            n = self._norm(x, w[f"blk.{layer}.ffn_norm.weight"])
            gate = linear("ffn_gate", n)
            x = x + linear("ffn_down", gate / (1 + np.exp(-gate)) * linear("ffn_up", n))
        return self._norm(x, w["output_norm.weight"]) @ w["token_embd.weight"].T

    def _norm(self, x, weight):
        epsilon = self.field["llama.attention.layer_norm_rms_epsilon"]
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * weight


def _rotate(x, turn):
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * turn
    out = np.empty_like(x)
    out[..., 0::2], out[..., 1::2] = turned.real, turned.imag
    return out
