#!/usr/bin/env python3
"""Writes the tokenizer references that the runtime's unit tests read.

Two independent implementations encode generated texts: Hugging Face
`tokenizers`, whose regular expressions run in Oniguruma, and Google's
`sentencepiece`. Both get small vocabularies trained here, so that the file
holds nobody's model.

    pip install tokenizers sentencepiece
    tools/reference/tokenizer_references.py

The expressions are those of `testdata/patterns.json`.
"""

import io
import json
import random
from pathlib import Path

import sentencepiece
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

TESTDATA = Path(__file__).resolve().parents[2] / "runtime/src/tokenizer/testdata"
# Their vocabularies take a piece that is a token without merging.
IGNORE_MERGES = {"llama-bpe", "tekken"}
ENCODED = ["gpt-2", "llama-bpe", "qwen2", "tekken", "deepseek-v3", "falcon"]

FRAGMENTS = (
    "a B the Hello camelCase HTTPServer I é É ß ſ K ǅ ʰ e\u0301 \u0301 ы Ж λ Ω ა Ა א ش क\u093f "
    "ไท 한국 ㅎ 漢字 々 〇 ⺀ ひ カー ㄅ 𠀀 𐐀 ª 1 12 123 1234567 ٣٤ ² ½ Ⅳ １ ' 's 'S 't 're 'RE 'Ve "
    "'m 'LL 'd 'ſ 'x ’s \" ! ? . ... , ( ) [ ] { } | / // \\ - _ # @ $ + < = > ^ ` ~ € ← … “ ” — "
    "。 ， 、 ！ ： । ۔ 🦙 👩\u200d🚀 \ufe0f \u200b \u0000 \u001b \ufeff \ufffd ▁"
).split(" ") + [" ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\u000b", "\u0085", "\u00a0", "\u3000"]

WORDS = "the quick brown fox jumps over a lazy dog while stones rolling never gather moss".split()


def generated_texts(rng):
    texts = ["", " ", "Hello, world! It's 12345 o'clock.", "I'LL go\n\n  there  \n"]
    for _ in range(90):
        parts = rng.choices(FRAGMENTS, k=rng.randint(1, 16))
        parts += rng.choices(WORDS + [" "] * 8, k=rng.randint(0, 6))
        rng.shuffle(parts)
        texts.append("".join(parts))
    return texts


def training_text(rng):
    lines = []
    for _ in range(400):
        words = [rng.choice(WORDS).capitalize() if rng.random() < 0.2 else rng.choice(WORDS) for _ in range(9)]
        words += [rng.choice(FRAGMENTS).replace("\x00", "") for _ in range(3)] + [str(rng.randint(0, 2000))]
        rng.shuffle(words)
        lines.append(" ".join(words))
    return lines


def pre_tokenizer(patterns):
    return [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]


def byte_pairs(rng, patterns, texts):
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trained.train_from_iterator(
        training_text(rng), trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, show_progress=False)
    )
    vocab = json.loads(trained.to_str())["model"]["vocab"]
    merges = [tuple(merge) for merge in json.loads(trained.to_str())["model"]["merges"]]
    # Words that merges do not make, for the vocabularies that take them whole.
    for word in ["\u0120there", "Hello", "123"]:
        vocab.setdefault(word, len(vocab))
    ids = {}
    for name in ENCODED:
        tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=name in IGNORE_MERGES))
        steps = pre_tokenizer(patterns[name]) + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
        ids[name] = [tokenizer.encode(text).ids for text in texts]
    tokens = sorted(vocab, key=vocab.get)
    return {"tokens": tokens, "merges": [" ".join(merge) for merge in merges], "ids": ids}


def sentence_pieces(rng, texts):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(training_text(rng)),
        model_writer=model,
        model_type="bpe",
        vocab_size=500,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        character_coverage=0.98,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    size = processor.get_piece_size()

    def kind(id):
        if processor.is_unknown(id):
            return 2
        if processor.is_control(id):
            return 3
        return 6 if processor.is_byte(id) else 1

    return {
        "tokens": [processor.id_to_piece(id) for id in range(size)],
        "scores": [processor.get_score(id) for id in range(size)],
        "types": [kind(id) for id in range(size)],
        "ids": [processor.encode(text) for text in texts],
    }


def main():
    rng = random.Random(20261122)
    patterns = json.loads((TESTDATA / "patterns.json").read_text())
    texts = generated_texts(rng)
    pieces = {}
    for name, expressions in patterns.items():
        sequence = pre_tokenizers.Sequence(pre_tokenizer(expressions))
        pieces[name] = [[len(piece) for piece, _ in sequence.pre_tokenize_str(text)] for text in texts]
    references = {
        "texts": texts,
        "piece_lengths": pieces,
        "byte_pairs": byte_pairs(rng, patterns, texts),
        "sentence_pieces": sentence_pieces(rng, [text.replace("\0", "") for text in texts]),
    }
    out = TESTDATA / "references.json"
    out.write_text(json.dumps(references, separators=(",", ":")) + "\n")
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
