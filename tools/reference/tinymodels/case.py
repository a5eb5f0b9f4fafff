"""What a case is: one Hugging Face configuration and what to make from it."""

from dataclasses import dataclass, field

from transformers import PreTrainedConfig

FLOAT_AND_QUANTIZED = ("F16", "Q8_0", "Q4_0")
FLOAT = ("F16",)


@dataclass(frozen=True)
class Case:
    name: str
    hf_class: str
    gguf_arch: str
    config: PreTrainedConfig
    seed: int
    # A variant that differs from another case only in how it rotates or masks has no use for
    # quantized files: they would check the same matrix products again.
    types: tuple[str, ...] = FLOAT
    # HF keeps pairs (i, i + d/2); the architectures that rotate neighbouring rows in GGUF need
    # the rows of Q and K reordered. Cohere rotates neighbours already in HF: no reordering.
    permute_qk: bool = False
    # Gemma's HF norms multiply by 1 + w; GGUF stores the sum.
    norm_offset: float = 0.0
    # Metadata that the converter's class for this family adds, or that we add on purpose.
    extra_keys: dict[str, object] = field(default_factory=dict)
    # Keys the converter's class for this family does not write though the generic code would.
    without_keys: frozenset[str] = frozenset()
    # Spread of the output matrix (or of the tied embedding), so that logits are neither flat
    # nor one-hot whatever the family multiplies them by.
    head_gain: float = 2.0
    note: str = ""
