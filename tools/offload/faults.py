#!/usr/bin/env python3
"""Breaks node and link while text is generated, and holds the text against
that of this machine alone.

Node and edge are processes; a relay between them is the link. Each run draws a
fault and its moment from its seed: the node killed with -9 (for good, or to
come back, or to come back with another model), the link cut for good or for a
while, stalled for 5 s, the edge seen from another address, datagrams doubled
and reordered. Every byte of text must be the same, in the same order.

`noticed` is the time from the fault to the line that tells of it; `went on`
the time from that line to the next text, which a prompt and the text so far
are read again in.

    cargo build --release
    cargo build --release -p outrigger-tests --example relay
    target/release/outrigger bench --shape llama-1b --quant q4_k_m --save model.gguf
    tools/offload/faults.py model.gguf
"""

import argparse
import random
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import ground

RELAY = ground.ROOT / "target/release/examples/relay"
OTHER_MODEL = ground.ROOT / "edge/assets/demo-draft-q8_0.gguf"
FAULTS = [
    "killed", "killed, back", "other model", "cut", "cut, back", "stall", "new address", "disorder",
]  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("model", type=lambda text: Path(text).resolve(), nargs="?", metavar="MODEL",
        help="a GGUF file that takes seconds to generate [the bundled one]")  # fmt: skip
    add("--ours", type=Path, default=ground.BINARY, metavar="FILE",
        help="our binary [target/release/outrigger]")  # fmt: skip
    add("--relay", type=Path, default=RELAY, metavar="FILE",
        help="the relay [target/release/examples/relay]")  # fmt: skip
    add("--runs", type=int, default=50, metavar="N")
    add("--seed", type=int, default=1, metavar="N", help="the first run's [1]")
    add("--rtt", type=float, default=40, metavar="MS")
    add("--modes", type=lambda text: text.split(","), default=["stream", "verify"],
        metavar="LIST")  # fmt: skip
    add("-t", "--threads", type=int, default=1, metavar="N")
    add("-n", "--tokens", type=int, default=96, metavar="N")
    return parser.parse_args()


class Relay:
    """The link between edge and node, which can be broken."""

    def __init__(self, binary: Path, to: str, rtt: float):
        pipe = subprocess.PIPE
        command = [str(binary), "--to", to, "--listen", "127.0.0.1:0", "--rtt-ms", str(rtt)]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.address = self.process.stdout.readline().split()[0]

    def tell(self, command: str) -> None:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.communicate()


@dataclass
class Watched:
    """What an edge wrote, and when."""

    text: bytearray = field(default_factory=bytearray)
    written: list[float] = field(default_factory=list)
    told: list[tuple[float, str]] = field(default_factory=list)


def watch(process: subprocess.Popen) -> tuple[Watched, list[threading.Thread]]:
    seen = Watched()

    def texts() -> None:
        while part := process.stdout.buffer.raw.read(4096):
            seen.written.append(time.time())
            seen.text += part

    def lines() -> None:
        for line in process.stderr:
            if line.strip():
                seen.told.append((time.time(), line.strip()))

    threads = [threading.Thread(target=each, daemon=True) for each in (texts, lines)]
    for thread in threads:
        thread.start()
    return seen, threads


def complete(edge: ground.Edge, text: str, seed: int, tokens: int, *more: str):
    pipe = subprocess.PIPE
    sampling = ["--temp", "0.8", "--seed", str(seed), "--ignore-eos", "-n", str(tokens)]
    command = ["run", *edge.model, *edge.threads, *sampling, *more, text]
    process = edge.start(*command, stdout=pipe, stderr=pipe)
    return process, *watch(process)


@dataclass
class Outcome:
    """How one run went."""

    fault: str
    same: bool
    noticed: float | None = None
    went_on: float | None = None
    told: list[str] = field(default_factory=list)


class Field:
    """A node, a relay and an edge, for one run after the other."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        binary = options.ours.resolve()
        self.host = ground.Machine(binary, options.model, options.threads)
        self.edge = ground.Edge(binary, options.model, options.threads)
        self.node = self.host.node("--ctx-size", "1024")
        self.relay = Relay(options.relay.resolve(), self.node.address, options.rtt)
        self.edge.pair(self.host, self.relay.address)

    def close(self) -> None:
        self.relay.__exit__()
        self.node.__exit__()

    def restart(self, model: Path | None = None) -> None:
        port = self.node.port
        self.node.__exit__()
        self.node = self.host.node("--ctx-size", "1024", port=port, model=model)

    def strike(self, fault: str, random: random.Random) -> None:
        match fault:
            case "killed" | "killed, back" | "other model":
                self.node.kill()
                if fault != "killed":
                    time.sleep(random.uniform(0.2, 2))
                    self.restart(OTHER_MODEL if fault == "other model" else None)
            case "cut" | "cut, back":
                self.relay.tell("cut")
                if fault != "cut":
                    time.sleep(random.uniform(0.05, 2))
                    self.relay.tell("uncut")
            case "stall":
                self.relay.tell("stall 5000")
            case "new address":
                self.relay.tell("address")
            case "disorder":
                self.relay.tell("duplicate 0.2")
                self.relay.tell("reorder 0.2")

    def mend(self, fault: str) -> None:
        if fault in ("killed", "other model"):
            self.restart()
        for line in ["uncut", "duplicate 0", "reorder 0"]:
            self.relay.tell(line)

    def run(self, seed: int) -> Outcome:
        draw = random.Random(seed)
        fault = FAULTS[seed % len(FAULTS)]
        mode = draw.choice(self.options.modes)
        text = draw.choice(ground.prompts(200))
        tokens = self.options.tokens
        more = ["--node", ground.NAME, "--mode", mode]
        if mode.startswith("verify"):
            more += ["--draft", "ngram"]
        local, seen, threads = complete(self.edge, text, seed, tokens)
        began = time.time()
        local.wait()
        took = time.time() - began
        for thread in threads:
            thread.join()
        expected = bytes(seen.text)
        per_token = statistics.median(
            b - a for a, b in zip(seen.written, seen.written[1:], strict=False)
        )

        process, seen, threads = complete(self.edge, text, seed, tokens, *more)
        while not seen.text and process.poll() is None:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.6) * min(took, per_token * tokens))
        struck = time.time()
        self.strike(fault, draw)
        if process.wait() != 0:
            raise ground.Failed(f"seed {seed}, {fault}, {mode}: {seen.told}")
        for thread in threads:
            thread.join()
        self.mend(fault)

        same = bytes(seen.text) == expected
        outcome = Outcome(fault, same, told=[line for _, line in seen.told])
        after = [(at, line) for at, line in seen.told if at >= struck and "going on here" in line]
        if after:
            at, _ = after[0]
            outcome.noticed = at - struck
            outcome.went_on = next((when - at for when in seen.written if when > at), None)
        return outcome


def column(values: list[float | None]) -> str:
    found = [value * 1e3 for value in values if value is not None]
    return f"{statistics.median(found):.0f}, {max(found):.0f}" if found else "-"


def main() -> int:
    options = arguments()
    field = Field(options)
    outcomes = []
    try:
        for seed in range(options.seed, options.seed + options.runs):
            outcome = field.run(seed)
            outcomes.append(outcome)
            if not outcome.same:
                print(f"seed {seed}, {outcome.fault}: other text; {outcome.told}", file=sys.stderr)
    finally:
        field.close()
    print("| fault | runs | same text | noticed after, ms (median, most) "
          "| went on after, ms (median, most) |")  # fmt: skip
    print("|---|---|---|---|---|")
    for fault in FAULTS:
        those = [outcome for outcome in outcomes if outcome.fault == fault]
        if those:
            same = sum(outcome.same for outcome in those)
            print(f"| {fault} | {len(those)} | {same} | {column([o.noticed for o in those])} "
                  f"| {column([o.went_on for o in those])} |")  # fmt: skip
    return 0 if all(outcome.same for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
