#!/usr/bin/env python3
"""Lets one edge and then several at once use a node, and compares.

All generate the same number of tokens by `stream`, from prompts of their own.
The aggregate is all tokens of all edges over the time from the first edge's
first token to the last edge's last, as the edges measure them themselves: the
edges' own starting is no part of it. Rounds alternate (one, many, one, many).

    cargo build --release
    target/release/outrigger bench --shape llama-1b --quant q4_k_m --save model.gguf
    tools/offload/crowd.py model.gguf
"""

import argparse
import statistics
import sys
from pathlib import Path

import ground


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", type=lambda text: Path(text).resolve(), metavar="MODEL", help="a GGUF file")
    add("--ours", type=Path, default=ground.BINARY, metavar="FILE",
        help="our binary [target/release/outrigger]")  # fmt: skip
    add("--edges", type=int, default=8, metavar="N")
    add("--rounds", type=int, default=3, metavar="N")
    add("-t", "--threads", type=int, default=2, metavar="N", help="the node's threads [2]")
    add("-n", "--tokens", type=int, default=128, metavar="N")
    add("--mode", default="stream")
    return parser.parse_args()


def crowd(edges: list[ground.Edge], tokens: int, mode: str) -> tuple[float, float]:
    """Tokens per second of all edges, and the worst time to a first token."""
    more = ["--node", ground.NAME, "--mode", mode, "--temp", "0"]
    texts = ground.prompts(len(edges))
    pairs = zip(edges, texts, strict=True)
    started = [edge.begin(*more, prompt=text, tokens=tokens) for edge, text in pairs]
    answers = [ground.finished(edge) for edge in started]
    for answer in answers:
        if any(run["source"] == "local" for run in answer["provenance"]):
            raise ground.Failed(f"an edge went on by itself: {answer['told']}")
    longest = max(a["timings"]["tpot_ms"] * (len(a["tokens"]) - 1) for a in answers) / 1e3
    generated = sum(len(a["tokens"]) - 1 for a in answers)
    first = max(a["timings"]["ttft_ms"] for a in answers)
    return generated / longest, first


def main() -> int:
    options = arguments()
    binary = options.ours.resolve()
    host = ground.Machine(binary, options.model, options.threads)
    edges = [ground.Edge(binary, options.model, 1) for _ in range(options.edges)]
    alone, many = [], []
    with host.node("--ctx-size", "1024") as node:
        for edge in edges:
            edge.pair(host, node.address)
            # Reads the file and writes down its digest.
            crowd([edge], 8, options.mode)
        for _ in range(options.rounds):
            alone.append(crowd(edges[:1], options.tokens, options.mode))
            many.append(crowd(edges, options.tokens, options.mode))

    def median(samples: list[tuple[float, float]], index: int) -> float:
        return statistics.median(sample[index] for sample in samples)

    print("| edges | tokens per second, all together | worst time to a first token |")
    print("|---|---|---|")
    for count, samples in [(1, alone), (options.edges, many)]:
        print(f"| {count} | {median(samples, 0):.1f} | {median(samples, 1):.0f} ms |")
    print(f"\n{median(many, 0) / median(alone, 0):.2f} times one edge's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
