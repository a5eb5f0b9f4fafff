"""Prints the figures of the data card and checks the exported files.

Everything is computed with the weights as they are in the GGUF files (Q8_0),
loaded into the training model; `check` compares that with the independent
NumPy reference and with the unquantised checkpoint.
"""

import argparse
import hashlib
import json
import re
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F

import tokenizer as bpe
from corpus.dice import Dice
from corpus.story import tell
from model import SHAPES, Llama
from reference import Reference

DRAFT_LENGTH = 4


def from_gguf(name, path) -> Llama:
    model = Llama(SHAPES[name])
    reader = gguf.GGUFReader(path)
    model.load_state_dict({
        t.name: torch.from_numpy(
            gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        )
        for t in reader.tensors
    })
    return model.eval()


def corpus_figures(samples):
    """How many of `samples` stories differ, and the words they use."""
    stories, words = set(), set()
    nats = 0.0
    for seed in range(samples):
        dice = Dice(seed)
        text = tell(dice).text
        nats += dice.nats
        stories.add(hashlib.sha256(text.encode()).digest()[:16])
        words.update(re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower()))
    print(f"{samples} stories drawn, {len(stories)} different, {len(words)} words")
    print(f"entropy of a story's derivation {nats / samples:.1f} nats")


@torch.inference_mode()
def held_out_loss(model, documents):
    """Mean nats per token after the first, each document in its own window."""
    total, count = 0.0, 0
    for ids in documents:
        ids = torch.tensor(ids[: model.shape.context + 1])
        logits = model(ids[None, :-1])[0]
        total += F.cross_entropy(logits, ids[1:], reduction="sum").item()
        count += ids.numel() - 1
    return total / count


@torch.inference_mode()
def greedy(model, ids, count, stop):
    """`ids` followed by up to `count` greedy tokens, up to one of `stop`."""
    ids = list(ids)
    for _ in range(count):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        if ids[-1] in stop:
            break
    return ids


@torch.inference_mode()
def acceptance(target, draft, prompts, count, stop):
    """The share of drafted tokens that the target, decoding greedily, accepts.

    Also the mean number of tokens each pass of the target yields.
    """
    drafted = accepted = passes = produced = 0
    for prompt in prompts:
        ids = list(prompt)
        while len(ids) < len(prompt) + count and ids[-1] not in stop:
            proposal = greedy(draft, ids, DRAFT_LENGTH, stop=())[len(ids):]
            choice = target(torch.tensor([ids + proposal]))[0, len(ids) - 1:].argmax(-1).tolist()
            hits = 0
            while hits < DRAFT_LENGTH and proposal[hits] == choice[hits]:
                hits += 1
            drafted += DRAFT_LENGTH
            accepted += hits
            passes += 1
            produced += hits + 1
            ids += choice[: hits + 1]
            ended = [at for at in range(len(prompt), len(ids)) if ids[at] in stop]
            if ended:
                ids = ids[: ended[0] + 1]
    return accepted / drafted, produced / passes


@torch.inference_mode()
def sample(model, ids, count, stop, temperature, generator):
    ids = list(ids)
    for _ in range(count):
        logits = model(torch.tensor([ids]))[0, -1]
        chances = torch.softmax(logits / temperature, -1)
        ids.append(int(torch.multinomial(chances, 1, generator=generator)))
        if ids[-1] in stop:
            break
    return ids


@torch.inference_mode()
def check(name, path, checkpoint, ids):
    """Prints how far the file is from the reference and from the checkpoint."""
    model = from_gguf(name, path)
    quantised = model(torch.tensor([ids]))[0].numpy()
    reference = Reference(path).logits(ids)
    original = Llama(SHAPES[name]).eval()
    original.load_state_dict(torch.load(checkpoint, weights_only=True))
    exact = original(torch.tensor([ids]))[0].numpy()
    print(
        f"{name}: largest logit difference to the NumPy reference"
        f" {np.abs(quantised - reference).max():.2e}, to the unquantised model"
        f" {np.abs(quantised - exact).max():.2e} (logits up to {np.abs(exact).max():.1f});"
        f" same greedy choice at {(quantised.argmax(-1) == exact.argmax(-1)).mean():.1%}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("build"))
    parser.add_argument("--assets", type=Path, default=Path("../../edge/assets"))
    parser.add_argument("--stories", type=int, default=300_000)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--prompts", type=int, default=60, help="stories to draft")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    corpus_figures(args.stories)
    tokenizer = bpe.load(args.data / "tokenizer.json")
    held_out = json.loads((args.data / "heldout.json").read_text())[: args.documents]
    documents = [encoding.ids for encoding in tokenizer.encode_batch([t for t, _ in held_out])]
    tokens = sum(len(ids) - 1 for ids in documents)
    nats = sum(surprise for _, surprise in held_out)
    print(f"held out: {len(documents)} documents, {tokens / len(documents):.1f} tokens each")
    print(f"entropy (upper bound) {nats / tokens:.4f} nats per token")

    paths = {name: args.assets / f"demo-{name}-q8_0.gguf" for name in SHAPES}
    models = {name: from_gguf(name, path) for name, path in paths.items()}
    for name, model in models.items():
        check(name, paths[name], args.data / f"{name}.pt", documents[0])
        print(f"{name}: held-out loss {held_out_loss(model, documents):.4f} nats per token")

    stop = {tokenizer.token_to_id(bpe.EOS)}
    prompts = [ids[:12] for ids in documents[:args.prompts]]
    rate, yielded = acceptance(models["target"], models["draft"], prompts, 150, stop)
    print(f"greedy acceptance at draft length {DRAFT_LENGTH}: {rate:.3f}"
          f" ({yielded:.2f} tokens per target pass)")

    start = tokenizer.encode(bpe.BOS + "Once upon a time").ids
    for name, model in models.items():
        print(f"\n{name}, greedy:", tokenizer.decode(greedy(model, start, 250, stop)))
        generator = torch.Generator().manual_seed(1)
        for _ in range(args.samples):
            ids = sample(model, start, 250, stop, 0.8, generator)
            print(f"\n{name}, temperature 0.8:", tokenizer.decode(ids))
    question = (f"{bpe.BOS}{bpe.IM_START}user\nTell me a story about a fox and a lantern."
                f"{bpe.IM_END}\n{bpe.IM_START}assistant\n")
    ids = tokenizer.encode(question).ids
    stop.add(tokenizer.token_to_id(bpe.IM_END))
    print("\nchat:", tokenizer.decode(greedy(models["target"], ids, 250, stop)[len(ids):]))


if __name__ == "__main__":
    main()
