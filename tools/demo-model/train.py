"""Trains the target or the draft on the packed tokens, on the CPU or a GPU.

Matrices are trained with Muon (orthogonalised momentum) and the embedding and
norms with AdamW: at a few million tokens this gets clearly lower than AdamW
alone. The learning rate warms up, holds, and falls to zero over the last part
of the run. Progress is measured in steps, or against the clock with --minutes,
for a machine that other work shares; the record that is written beside the
weights says how many steps that came to.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from model import BOS, SHAPES, Llama

WARMUP = 0.02
DECAY = 0.4


def rows_of(tokens, bos, length):
    """Rows of `length` tokens that each begin with a document.

    A document that crosses the end of a row is cut, and the next row starts
    at the document after it, so no row begins in the middle of a story.
    """
    starts = np.flatnonzero(tokens == bos)
    rows, at = [], 0
    while at < starts.size and starts[at] + length <= tokens.size:
        rows.append(starts[at])
        at = int(np.searchsorted(starts, starts[at] + length))
    return np.stack([tokens[r:r + length] for r in rows]).astype(np.int64)


def orthogonalise(matrix, steps=5):
    """An approximate nearest semi-orthogonal matrix (Newton-Schulz, quintic).

    In bf16: the result need not be exact, and this is a tenth of the step.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (matrix / (matrix.norm() + 1e-7)).bfloat16()
    transposed = x.shape[0] > x.shape[1]
    if transposed:
        x = x.T
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if transposed else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                buffer = state.setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalise(p.grad.lerp(buffer, group["momentum"]))
                scale = max(1.0, p.shape[0] / p.shape[1]) ** 0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.to(p.dtype), alpha=-group["lr"] * scale)


def rate(progress):
    """The factor on the learning rate at `progress` from 0 to 1."""
    if progress < WARMUP:
        return progress / WARMUP
    return min(1.0, (1.0 - progress) / DECAY)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=SHAPES)
    parser.add_argument("--data", type=Path, default=Path("build"))
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--minutes", type=float, help="end by the clock, not by --steps")
    parser.add_argument("--init", type=Path, help="weights to go on from")
    parser.add_argument("--batch", type=int, default=8, help="rows per step")
    parser.add_argument("--length", type=int, default=512, help="tokens per row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint-every", type=int, default=200)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens = np.fromfile(args.data / "train.bin", dtype=np.uint16)
    rows = torch.from_numpy(rows_of(tokens, BOS, args.length + 1))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(args.seed))

    model = Llama(SHAPES[args.model]).to(device)
    if args.init:
        model.load_state_dict(torch.load(args.init, weights_only=True))
    count = sum(p.numel() for p in model.parameters())
    print(f"{args.model}: {count} parameters, {len(rows)} rows", flush=True)
    matrices = [p for p in model.blk.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is m for m in matrices)]
    optimisers = [
        Muon(matrices, lr=0.01, weight_decay=0.3),
        torch.optim.AdamW(others, lr=4e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    peaks = [group["lr"] for o in optimisers for group in o.param_groups]

    @torch.compile
    def loss_of(batch):
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = model(batch[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())

    start, seen, step, progress, smooth = time.time(), 0, 0, 0.0, None
    while progress < 1.0:
        factor = rate(progress)
        for peak, group in zip(peaks, (g for o in optimisers for g in o.param_groups)):
            group["lr"] = peak * factor
        picked = order[torch.arange(step * args.batch, (step + 1) * args.batch) % len(order)]
        batch = rows[picked].to(device)
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        seen += batch[:, 1:].numel()
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        step += 1
        elapsed = time.time() - start
        progress = elapsed / (60 * args.minutes) if args.minutes else step / args.steps
        if step % 20 == 0:
            print(
                f"step {step} loss {smooth:.4f} tokens {seen} ({seen / elapsed:.0f}/s)"
                f" progress {progress:.3f}", flush=True,
            )
        if step % args.checkpoint_every == 0 or progress >= 1.0:
            _save(model, args, step, seen, elapsed)


def _save(model, args, step, seen, seconds):
    path = args.data / f"{args.model}.pt"
    torch.save(model.state_dict(), path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)
    record = dict(
        model=args.model, seed=args.seed, steps=step, batch=args.batch,
        length=args.length, threads=args.threads, tokens=seen, seconds=round(seconds),
    )
    (args.data / f"{args.model}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
