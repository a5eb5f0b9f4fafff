#!/usr/bin/env python3
"""Holds every mode of offload against this machine alone, token for token.

A node and an edge are two processes on loopback. Each prompt is completed by
the edge alone and then in each mode, greedily and sampled with a seed of its
own; the token ids must be the same.

    cargo build --release
    tools/offload/modes.py
"""

import argparse
import statistics
import sys
from pathlib import Path

import ground

MODES = ["stream", "verify", "verify-pipelined", "draft-at-node", "split"]
SAMPLINGS = {"greedy": ["--temp", "0"], "sampled": ["--temp", "0.9", "--top-p", "0.95"]}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--ours", type=Path, default=ground.BINARY, metavar="FILE",
        help="our binary [target/release/outrigger]")  # fmt: skip
    add("--modes", type=lambda text: text.split(","), default=MODES, metavar="LIST")
    add("--prompts", type=int, default=200, metavar="N")
    add("-n", "--tokens", type=int, default=128, metavar="N")
    return parser.parse_args()


def mean(answers: list[dict], field: str) -> str:
    found = [answer["timings"].get(field) for answer in answers]
    found = [number for number in found if number is not None]
    return f"{statistics.mean(found):.0f}" if found else "-"


def main() -> int:
    options = arguments()
    texts = ground.prompts(options.prompts)
    binary = options.ours.resolve()
    host, edge = ground.Machine(binary, None, 1), ground.Edge(binary, None, 1)
    wrong = 0
    print("| mode | sampling | identical | tokens from the node | bytes up, down per token |")
    print("|---|---|---|---|---|")
    with host.node("--draft", "bundled") as node:
        edge.pair(host, node.address)
        for name, sampling in SAMPLINGS.items():
            def complete(seed: int, text: str, *more: str) -> dict:
                given = [*sampling, "--seed", str(seed), *more]
                return edge.answer(*given, prompt=text, tokens=options.tokens)

            alone = [complete(seed, text) for seed, text in enumerate(texts)]
            for mode in options.modes:
                more = ["--node", ground.NAME, "--mode", mode]
                if mode.startswith("verify"):
                    more += ["--draft", "bundled"]
                there = [complete(seed, text, *more) for seed, text in enumerate(texts)]
                pairs = zip(alone, there, strict=True)
                same = sum(a["tokens"] == b["tokens"] for a, b in pairs)
                wrong += len(texts) - same
                runs = [run for answer in there for run in answer["provenance"]]
                total = sum(run["tokens"] for run in runs)
                remote = sum(run["tokens"] for run in runs if run["source"] != "local")
                bytes_each = ", ".join(
                    mean(there, f"bytes_{way}_per_token") for way in ["up", "down"]
                )
                print(f"| {mode} | {name} | {same} of {len(texts)} | {remote} of {total} "
                      f"| {bytes_each} |", flush=True)  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
