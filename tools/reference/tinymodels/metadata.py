"""GGUF keys of a configuration, as llama.cpp's converter writes them (its generic text model)."""

import math

import gguf

FILE_TYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 7}


def keys(case) -> dict[str, object]:
    """Keys below `ARCH.`; an int is written as u32, a float as f32."""
    c = case.config
    rope = c.rope_parameters.get("full_attention", c.rope_parameters)
    local = c.rope_parameters.get("sliding_attention", {})
    out = {
        "block_count": c.num_hidden_layers,
        "context_length": c.max_position_embeddings,
        "embedding_length": c.hidden_size,
        "feed_forward_length": c.intermediate_size,
        "attention.head_count": c.num_attention_heads,
        "attention.head_count_kv": c.num_key_value_heads,
        "rope.freq_base": float(rope["rope_theta"]),
        "rope.freq_base_swa": local.get("rope_theta"),
        "attention.layer_norm_rms_epsilon": getattr(c, "rms_norm_eps", None),
        "attention.layer_norm_epsilon": getattr(c, "layer_norm_eps", None) or getattr(c, "norm_epsilon", None),
        "attention.key_length": getattr(c, "head_dim", None),
        "attention.value_length": getattr(c, "head_dim", None),
        "expert_count": getattr(c, "num_experts", None),
        "expert_used_count": getattr(c, "num_experts_per_tok", None),
    }
    out |= scaling(rope) | case.extra_keys
    return {k: v for k, v in out.items() if v is not None and k not in case.without_keys}


def scaling(rope: dict) -> dict[str, object]:
    kind = rope.get("rope_type")
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if kind == "yarn":
        return {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": float(rope["factor"]),
            "rope.scaling.original_context_length": rope["original_max_position_embeddings"],
        }
    return {}  # llama3 and longrope scale through tensors


def longrope_attention_factor(context: int, original: int) -> float:
    return math.sqrt(1 + math.log(context / original) / math.log(original))


def add_to(writer: gguf.GGUFWriter, case, kind: str) -> None:
    writer.add_type("model")
    # llama.cpp takes special cases from a name that contains, say, "phi3": leave the case out of it.
    writer.add_name("tiny reference model")
    writer.add_file_type(FILE_TYPES[kind])
    if kind.startswith("Q"):
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in keys(case).items():
        full = f"{case.gguf_arch}.{key}"
        if isinstance(value, str):
            writer.add_string(full, value)
        elif isinstance(value, float):
            writer.add_float32(full, value)
        else:
            writer.add_uint32(full, value)
