"""Random weights that one reference can stand for in F32, F16 and BF16 alike."""

import math

import torch
import transformers


def exact(t: torch.Tensor) -> torch.Tensor:
    """The nearest values that bfloat16 and float16 both hold exactly."""
    # Eight significant bits fit into a float16 subnormal down to 2^-17; below that, drop to zero.
    t = torch.where(t.abs() < 2.0**-17, 0.0, t).to(torch.bfloat16).to(torch.float32)
    assert torch.equal(t, t.to(torch.float16).to(torch.float32))
    return t


INTO_RESIDUAL = ("o_proj", "down_proj", "c_proj")


def spread(name: str, t: torch.Tensor, case) -> tuple[float, float]:
    """Mean and standard deviation of a parameter, by what it does."""
    fan_in = 1 / math.sqrt(t.shape[-1])
    tied = case.config.tie_word_embeddings
    if "norm" in name:
        if name.endswith(".bias"):
            return 0.0, 0.3
        # Norms on Q and K above 1, or else attention would be close to uniform.
        mean = 1.4 if "q_norm" in name or "k_norm" in name else 1.0
        return mean - case.norm_offset, 0.25
    if name.endswith(".bias"):
        # Those that add to the residual are the same for every token: smaller, or they rule it.
        return 0.0, 0.2 if any(p in name for p in INTO_RESIDUAL) else 0.4
    if "embed_tokens" in name:
        return 0.0, case.head_gain * fan_in if tied else 0.5
    if "lm_head" in name:
        return 0.0, case.head_gain * fan_in
    if ".mlp.gate.weight" in name:
        return 0.0, 3.0 * fan_in  # routers: keep near-ties between experts rare
    if any(p in name for p in ("q_proj", "k_proj", "qkv_proj")):
        return 0.0, 1.4 * fan_in
    if any(p in name for p in INTO_RESIDUAL):
        return 0.0, 0.7 * fan_in
    return 0.0, fan_in


def random_model(case) -> transformers.PreTrainedModel:
    config = case.config
    config._attn_implementation = "eager"
    model = getattr(transformers, case.hf_class)(config).to(torch.float32).eval()
    generator = torch.Generator().manual_seed(case.seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            mean, deviation = spread(name, p, case)
            values = mean + deviation * torch.randn(p.shape, generator=generator, dtype=torch.float32)
            if name == "model.norm.weight":
                # With a tied head a token's own logit would win every time and a greedy run would
                # repeat one token; random signs here make it no likelier than the others.
                sign = torch.randint(0, 2, p.shape, generator=generator) * 2 - 1
                values = sign * (values + case.norm_offset) - case.norm_offset
            p.copy_(exact(values))
    return model
