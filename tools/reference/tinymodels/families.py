"""The cases. A small file per family would hold little more than one call each; they share `SIZE`."""

import transformers as hf

from . import vocabulary
from .case import FLOAT_AND_QUANTIZED, Case
from .metadata import longrope_attention_factor

SIZE = dict(
    vocab_size=vocabulary.SIZE,
    hidden_size=64,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    bos_token_id=vocabulary.BOS,
    eos_token_id=vocabulary.EOS,
    pad_token_id=None,
)
# A thousand times the usual, so that a reader that ignores the key is found out.
EPSILON = 0.01
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
# What the converter adds for every class that descends from its LLaMA class.
LLAMA_KEYS = {"vocab_size": vocabulary.SIZE, "rope.dimension_count": 16}


def llama(name: str, seed: int, rope=PLAIN, keys=LLAMA_KEYS, config=hf.LlamaConfig, **rest) -> Case:
    case = {k: rest.pop(k) for k in ("types", "note") if k in rest}
    settings = SIZE | dict(rms_norm_eps=EPSILON, tie_word_embeddings=True, rope_parameters=dict(rope)) | rest
    return Case(
        name, config.__name__.replace("Config", "ForCausalLM"), "llama", config(**settings), seed,
        permute_qk=True, extra_keys=keys, **case,
    )


def llamas() -> list[Case]:
    llama3 = dict(
        rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        # 64 puts one pair above, two between and five below the two bounds at head size 16.
        original_max_position_embeddings=64,
    )
    yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64)
    return [
        llama("llama3-rope", 101, llama3, types=FLOAT_AND_QUANTIZED),
        llama("llama-linear", 102, PLAIN | dict(rope_type="linear", factor=4.0)),
        llama("llama-yarn", 103, yarn, max_position_embeddings=256),
        llama(
            "mistral", 104, config=hf.MistralConfig, sliding_window=32, head_dim=16,
            keys=LLAMA_KEYS | {"attention.sliding_window": 32},
            note="the converter drops the window of this family; written here, and honoured by the reference",
        ),
        llama(
            "llama-wide-heads", 105, head_dim=32, rope_parameters=dict(PLAIN, rope_theta=50000.0),
            keys=LLAMA_KEYS | {"rope.dimension_count": 32},
            note="tied embeddings; heads * head size is twice the hidden size",
        ),
        llama("llama-bias", 106, attention_bias=True, mlp_bias=True, note="Q and K biases are reordered like their rows"),
    ]


def qwens() -> list[Case]:
    yarn = dict(rope_type="yarn", rope_theta=100000.0, factor=4.0, original_max_position_embeddings=64)
    rms = SIZE | dict(rms_norm_eps=EPSILON, rope_parameters=dict(PLAIN, rope_theta=100000.0))
    experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, decoder_sparse_step=1)
    # The seeds of the two mixtures are the best of 120: nowhere in the 64-token input, quantized or
    # not, are the second and third expert closer than 0.02, so that rounding seldom swaps them.
    return [
        Case(
            "qwen2-yarn", "Qwen2ForCausalLM", "qwen2",
            hf.Qwen2Config(**rms | dict(tie_word_embeddings=True, rope_parameters=yarn, max_position_embeddings=256)), 111,
        ),
        Case(
            "qwen3", "Qwen3ForCausalLM", "qwen3",
            hf.Qwen3Config(**rms, head_dim=32, tie_word_embeddings=True), 112, FLOAT_AND_QUANTIZED,
            note="norm over each head of Q and K before the rotation; heads * head size is twice the hidden size",
        ),
        Case(
            "qwen3moe", "Qwen3MoeForCausalLM", "qwen3moe",
            hf.Qwen3MoeConfig(**rms, **experts, head_dim=16, tie_word_embeddings=False, norm_topk_prob=True),
            1001, FLOAT_AND_QUANTIZED, extra_keys={"expert_feed_forward_length": 32},
            note="softmax over all experts, top 2, their weights renormalised to sum 1",
        ),
        Case(
            "qwen2moe", "Qwen2MoeForCausalLM", "qwen2moe",
            hf.Qwen2MoeConfig(
                **rms, **experts, tie_word_embeddings=False, norm_topk_prob=False, shared_expert_intermediate_size=32,
            ),
            1037, FLOAT_AND_QUANTIZED,
            extra_keys={"expert_feed_forward_length": 32, "expert_shared_feed_forward_length": 32},
            note="softmax over all experts, top 2, weights not renormalised; shared expert with a sigmoid gate",
        ),
    ]


def gemmas() -> list[Case]:
    base = SIZE | dict(rms_norm_eps=EPSILON, tie_word_embeddings=True, head_dim=32, hidden_activation="gelu_pytorch_tanh")
    # Six layers: without a pattern key, GGUF readers take every sixth layer as global.
    third = base | dict(
        intermediate_size=32, num_hidden_layers=6, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, sliding_window=32, query_pre_attn_scalar=16,
    )
    rope = {
        "sliding_attention": dict(PLAIN),
        "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
    }
    linear = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
        "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
    }
    window = {"attention.sliding_window": 32}
    return [
        Case(
            "gemma", "GemmaForCausalLM", "gemma",
            hf.GemmaConfig(**base | dict(num_key_value_heads=1), rope_parameters=dict(PLAIN)), 121,
            norm_offset=1.0, head_gain=1.0, without_keys=frozenset({"rope.freq_base"}), note="no rope.freq_base key: 10000",
        ),
        Case(
            "gemma3", "Gemma3ForCausalLM", "gemma3", hf.Gemma3TextConfig(**third, rope_parameters=rope),
            122, FLOAT_AND_QUANTIZED, norm_offset=1.0, extra_keys=window,
            note="layers 0-4 local (window 32, base 10000), layer 5 global (base 1000000)",
        ),
        Case(
            "gemma3-linear", "Gemma3ForCausalLM", "gemma3", hf.Gemma3TextConfig(**third, rope_parameters=linear),
            123, norm_offset=1.0, extra_keys=window,
            note="linear scaling on the global layer only; local base 20000",
        ),
    ]


def others() -> list[Case]:
    rms = SIZE | dict(rms_norm_eps=EPSILON, rope_parameters=dict(PLAIN))
    layer = SIZE | dict(rope_parameters=dict(PLAIN), tie_word_embeddings=True)
    return [
        Case(
            "olmo2", "Olmo2ForCausalLM", "olmo2", hf.Olmo2Config(**rms, tie_word_embeddings=False), 131,
            FLOAT_AND_QUANTIZED, note="no norms before the blocks, only after; Q and K normed over their full width",
        ),
        Case(
            "granite", "GraniteForCausalLM", "granite",
            hf.GraniteConfig(
                **rms, tie_word_embeddings=True, embedding_multiplier=3.0, attention_multiplier=0.15,
                residual_multiplier=0.7, logits_scaling=0.7,
            ),
            132, FLOAT_AND_QUANTIZED, permute_qk=True, head_gain=1.5,
            extra_keys=LLAMA_KEYS | {
                "attention.scale": 0.15, "embedding_scale": 3.0, "residual_scale": 0.7, "logit_scale": 0.7,
            },
            note="logits are divided by logit_scale",
        ),
        Case(
            "starcoder2", "Starcoder2ForCausalLM", "starcoder2",
            hf.Starcoder2Config(**layer, norm_epsilon=EPSILON, use_bias=True, sliding_window=None), 133,
            FLOAT_AND_QUANTIZED,
        ),
        command_r("command-r", 134, layer, types=FLOAT_AND_QUANTIZED),
        command_r("command-r-qk-norm", 135, layer, use_qk_norm=True),
    ]


def command_r(name: str, seed: int, settings: dict, types=("F16",), **rest) -> Case:
    return Case(
        name, "CohereForCausalLM", "command-r", hf.CohereConfig(**settings, layer_norm_eps=EPSILON, logit_scale=0.4, **rest), seed, types,
        head_gain=5.0, extra_keys={"logit_scale": 0.4, "rope.scaling.type": "none"},
        note="logits are multiplied by logit_scale"
        + ("; a norm (mean removed) over each head of Q and K with a weight per head and entry" if rest else ""),
    )


def phis() -> list[Case]:
    def phi3(name, seed, rope, original, window=None, extra=None, note="", **rest) -> Case:
        settings = SIZE | dict(
            rms_norm_eps=EPSILON, tie_word_embeddings=True, sliding_window=window, rope_parameters=rope,
            original_max_position_embeddings=original,
        ) | rest
        keys = {
            "rope.scaling.original_context_length": original,
            "rope.dimension_count": 16,
            "attention.sliding_window": window or 0,
        }
        return Case(
            name, "Phi3ForCausalLM", "phi3", hf.Phi3Config(**settings), seed,
            extra_keys=keys | (extra or {}), note=note,
        )

    long = dict(
        rope_type="longrope", rope_theta=10000.0, original_max_position_embeddings=256,
        short_factor=[1.0, 1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4],
        long_factor=[1.0, 1.2, 1.6, 2.2, 3.0, 3.6, 4.2, 5.0],
    )
    return [
        phi3(
            "phi3-longrope", 141, long, 256, max_position_embeddings=1024,
            extra={"rope.scaling.attn_factor": longrope_attention_factor(1024, 256)},
            note="inputs up to 64 and the greedy run: short factors (context <= 256); input 300: long factors",
        ),
        phi3("phi3-window", 142, dict(PLAIN), 512, window=32),
    ]


CASES = [*llamas(), *qwens(), *gemmas(), *others(), *phis()]
