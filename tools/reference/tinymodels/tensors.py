"""From a Hugging Face state dict to GGUF tensors, as llama.cpp's converter lays them out."""

from dataclasses import dataclass

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type

ARCHES = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
ROUTERS = ("ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight")


@dataclass
class Tensor:
    name: str
    values: np.ndarray  # float32

    @property
    def is_matrix(self) -> bool:
        """Whether the file's type applies; norms, biases, routers and factors stay F32."""
        return (
            self.values.ndim >= 2
            and self.name.endswith(".weight")
            and not self.name.endswith("_norm.weight")
            and not self.name.endswith(ROUTERS)
        )


def neighbouring_pairs(t: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of every head reordered so that rotary partners i and i + d/2 stand side by side."""
    half = t.shape[0] // heads // 2
    return t.reshape(heads, 2, half, *t.shape[1:]).swapaxes(1, 2).reshape(t.shape)


def split_experts(name: str, t: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """HF stacks the experts already, with gate and up in one tensor; GGUF keeps these apart."""
    if name.endswith("experts.gate_up_proj"):
        gate, up = t.chunk(2, dim=1)
        base = name.removesuffix("gate_up_proj")
        return [(base + "gate_proj.weight", gate), (base + "up_proj.weight", up)]
    if name.endswith("experts.down_proj"):
        return [(name + ".weight", t)]
    return [(name, t)]


def gguf_tensors(case, model) -> list[Tensor]:
    config = case.config
    names = gguf.get_tensor_name_map(ARCHES[case.gguf_arch], config.num_hidden_layers)
    out = []
    for hf_name, p in model.state_dict().items():
        if hf_name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        for name, t in split_experts(hf_name, p):
            if case.permute_qk and ".q_proj." in name:
                t = neighbouring_pairs(t, config.num_attention_heads)
            if case.permute_qk and ".k_proj." in name:
                t = neighbouring_pairs(t, config.num_key_value_heads)
            if name.endswith("norm.weight"):
                t = t + case.norm_offset
            mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if mapped is None:
                raise ValueError(f"{case.name}: no GGUF name for {name}")
            out.append(Tensor(mapped, t.contiguous().numpy().astype(np.float32)))
    return rope_factors(case) + out


def rope_factors(case) -> list[Tensor]:
    """Divisors of the rotary frequencies that GGUF carries as tensors instead of keys."""
    rope = case.config.rope_parameters
    kind = rope.get("rope_type")
    if kind == "llama3":
        return [Tensor("rope_freqs.weight", llama3_factors(case.config, rope))]
    if kind == "longrope":
        return [
            Tensor(f"rope_factors_{which}.weight", np.array(rope[f"{which}_factor"], np.float32))
            for which in ("long", "short")
        ]
    return []


def llama3_factors(config, rope) -> np.ndarray:
    dim = config.head_dim
    inverse = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    # How often each pair turns within the original context decides its band.
    turns = rope["original_max_position_embeddings"] * inverse.numpy() / (2 * np.pi)
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    smooth = (turns - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    return np.where(turns > high, 1.0, np.where(turns < low, factor, between)).astype(np.float32)


def encode(values: np.ndarray, kind: str) -> np.ndarray:
    return gguf.quants.quantize(values, Type[kind])


def quantized_state(model, kind: str) -> dict[str, torch.Tensor]:
    """The model's own state with every matrix replaced by what a file of type `kind` holds.

    Blocks run along rows, so reordering or stacking rows commutes with quantizing them and this
    need not go through GGUF names.
    """
    state = {}
    for name, p in model.state_dict().items():
        router = name.endswith((".mlp.gate.weight", "shared_expert_gate.weight"))
        if p.ndim >= 2 and "norm" not in name and not router:
            raw = encode(p.numpy(), kind)
            p = torch.from_numpy(gguf.quants.dequantize(raw, Type[kind]).astype(np.float32))
        state[name] = p
    return state
