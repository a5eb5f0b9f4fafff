"""Writes the training tokens, the held-out documents and the tokenizer.

Training seeds count up from 0 and held-out seeds from HELD_OUT_SEED, so no
derivation is in both.
"""

import argparse
import json
from multiprocessing import Pool
from pathlib import Path

import numpy as np

import tokenizer as bpe

HELD_OUT_SEED = 1_000_000_000
HELD_OUT_DOCUMENTS = 2000
TOKENIZER_DOCUMENTS = 20_000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build"))
    parser.add_argument("--documents", type=int, default=150_000)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    with Pool(args.workers) as pool:
        texts = [text for text, _ in pool.imap(bpe.document, range(args.documents), 500)]
        held_out = pool.map(
            bpe.document, range(HELD_OUT_SEED, HELD_OUT_SEED + HELD_OUT_DOCUMENTS)
        )
    seen = set(texts)
    held_out = [(text, nats) for text, nats in held_out if text not in seen]
    (args.out / "heldout.json").write_text(json.dumps(held_out))

    tokenizer = bpe.train(texts[:TOKENIZER_DOCUMENTS], args.out / "tokenizer.json")
    tokens = np.concatenate([
        np.array(encoding.ids, dtype=np.uint16)
        for start in range(0, len(texts), 5000)
        for encoding in tokenizer.encode_batch(texts[start:start + 5000])
    ])
    tokens.tofile(args.out / "train.bin")
    print(
        f"{len(texts)} documents ({len(seen)} different), {tokens.size} tokens,"
        f" vocabulary {tokenizer.get_vocab_size()}, {len(held_out)} held out"
    )


if __name__ == "__main__":
    main()
