"""Writes a trained model as GGUF: Q8_0 matrices, F32 norms, the tokenizer."""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch

import tokenizer as bpe
from model import SHAPES

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def add_tokenizer(writer, path: Path):
    """The vocabulary and merges, in the form of GPT-2's byte-level BPE."""
    trained = json.loads(path.read_text())["model"]
    by_id = sorted(trained["vocab"].items(), key=lambda entry: entry[1])
    special = set(bpe.SPECIAL)
    merges = [m if isinstance(m, str) else " ".join(m) for m in trained["merges"]]
    identity = {token: index for token, index in by_id}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in by_id])
    writer.add_token_types([
        gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL
        for token, _ in by_id
    ])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(identity[bpe.BOS])
    writer.add_eos_token_id(identity[bpe.EOS])
    writer.add_eot_token_id(identity[bpe.IM_END])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_shape(writer, shape):
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=SHAPES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path("build"))
    args = parser.parse_args()

    weights = torch.load(args.data / f"{args.model}.pt", map_location="cpu", weights_only=True)
    writer = gguf.GGUFWriter(args.out, "llama")
    writer.add_name(f"Outrigger demo {args.model}")
    writer.add_description("Tells short synthetic stories; made by tools/demo-model of Outrigger.")
    writer.add_license("MIT OR Apache-2.0")
    writer.add_languages(["en"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_shape(writer, SHAPES[args.model])
    add_tokenizer(writer, args.data / "tokenizer.json")
    for name, tensor in weights.items():
        values = tensor.float().numpy()
        if values.ndim == 2:
            q8 = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(values, q8), raw_dtype=q8)
        else:
            writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{args.out}: {args.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
