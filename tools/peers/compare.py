#!/usr/bin/env python3
"""Measures Outrigger and llama.cpp side by side on the same files.

Each line of the table is measured in rounds, and in each round every
contestant once, one after the other (A B C A B C ...), because machines drift:
only figures of one table can be compared. The medians of the rounds are
printed as markdown; `--json` keeps every sample with its command.

The ratio is ours to the best of all peers on that line; above 1 we are ahead.
A first token is timed from the start of the process to its end, a cold one
with the file's pages dropped from the page cache before; `disk` is the time
that just reading the dropped file takes. Peak RSS is what the system counts
for the decode, mapped pages of the file included.

    cargo build --release
    tools/peers/build.sh ../llama.cpp
    target/release/outrigger bench --shape llama-1b --quant q4_k_m --save model.gguf
    tools/peers/compare.py --llama ../llama.cpp/build/bin model.gguf
"""

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import page_cache
import table
from contestant import Contestant, IkLlamaCpp, LlamaCpp, Outrigger, Unavailable
from line import Line, lines

ALL_LINES = ["prefill", "decode", "depth", "batch", "cold", "warm"]
ROOT = Path(__file__).resolve().parents[2]


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def path(text: str) -> Path:
    # Absolute, because every command runs in a folder of its own.
    return Path(text).resolve()


def words(text: str) -> list[str]:
    return text.split(",")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("models", nargs="+", type=path, metavar="MODEL", help="GGUF files")
    add("--ours", type=path, default=ROOT / "target/release/outrigger", metavar="FILE",
        help="our binary [target/release/outrigger]")  # fmt: skip
    add("--isa", help="the instruction set that we are held to (OUTRIGGER_ISA), such as avx2; "
        "give builds of the peers that are held to it too")  # fmt: skip
    add("--llama", type=path, metavar="DIR", help="the folder of llama.cpp's tools")
    add("--ik", type=path, metavar="DIR", help="the folder of ik_llama.cpp's tools")
    add("--lines", type=words, default=["prefill", "decode"], metavar="LIST",
        help=f"which of {','.join(ALL_LINES)}; `all` for all of them [prefill,decode]")  # fmt: skip
    add("-t", "--threads", type=numbers, default=[2, 1], metavar="LIST", help="[2,1]")
    add("-p", "--prompt", type=int, default=512, metavar="N", help="tokens of a prompt [512]")
    add("--prompt-one-thread", type=int, default=256, metavar="N",
        help="tokens of a prompt with one thread [256]")  # fmt: skip
    add("-n", "--generate", type=int, default=64, metavar="N", help="tokens to generate [64]")
    add("-d", "--depths", type=numbers, default=[4096, 8192], metavar="LIST",
        help="positions before the generation, for `depth` [4096,8192]")  # fmt: skip
    add("--kv", type=words, default=["f16", "q8_0"], metavar="LIST",
        help="cache formats for `depth` [f16,q8_0]")  # fmt: skip
    add("--columns", type=numbers, default=[8], metavar="LIST",
        help="sequences at once, for `batch` [8]")  # fmt: skip
    add("--text", default="Hello", help="what comes before a first token [Hello]")
    add("--rounds", type=int, default=3, metavar="N", help="rounds per line [3]")
    add("--json", type=Path, metavar="FILE", help="keeps every sample")
    options = parser.parse_args()
    if options.lines == ["all"]:
        options.lines = ALL_LINES
    unknown = set(options.lines) - set(ALL_LINES)
    if unknown:
        parser.error(f"there is no line `{unknown.pop()}`; there are {', '.join(ALL_LINES)}")
    for given in [*options.models, options.ours, options.llama, options.ik]:
        if given is not None and not given.exists():
            parser.error(f"{given} is not there")
    if options.rounds < 1 or not options.text:
        parser.error("--rounds must be at least 1, and --text must not be empty")
    return options


def contestants(options: argparse.Namespace) -> list[Contestant]:
    """Ours first."""
    chosen = [Outrigger(options.ours, options.isa)]
    if options.llama:
        chosen += [LlamaCpp(options.llama, repack) for repack in (True, False)]
    if options.ik:
        chosen += [IkLlamaCpp(options.ik, repack) for repack in (False, True)]
    return chosen


def measure(line: Line, model: Path, rounds: int, all_of_them: list[Contestant]) -> dict:
    """All samples of a line. Who fails once is left out from then on."""
    samples = {contestant.name: [] for contestant in all_of_them}
    left_out = set()
    disk = []
    if line.is_time and not line.cold:
        page_cache.read_time(model)
    for number in range(rounds):
        for contestant in all_of_them:
            if contestant.name in left_out:
                continue
            try:
                if line.cold:
                    page_cache.drop(model)
                sample = contestant.sample(line, model)
            except Unavailable as why:
                say(f"{contestant.name} is left out of {line.name}: {why}")
                left_out.add(contestant.name)
                continue
            samples[contestant.name].append(vars(sample))
            say(f"{model.name}  {line.name}  {line.threads} threads  round {number + 1}  "
                f"{contestant.name}: {table.cell(sample.value)}")  # fmt: skip
        if line.cold:
            page_cache.drop(model)
            disk.append(page_cache.read_time(model))
    return {
        "file": model.name,
        "file_bytes": model.stat().st_size,
        "line": line.name,
        "threads": line.threads,
        "is_time": line.is_time,
        # Where memory is told: a decode at depth 0, in one sequence.
        "memory": line.generate > 0 and line.depth == 0 and line.columns == 1,
        "disk_s": min(disk) if disk else None,
        "samples": samples,
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    options = arguments()
    all_of_them = contestants(options)
    results = []
    try:
        for model in options.models:
            for line in lines(options):
                results.append(measure(line, model, options.rounds, all_of_them))
    except KeyboardInterrupt:
        say("interrupted; what is complete follows")
    except page_cache.StillCached as why:
        say(f"compare.py: {why}")
    names = [contestant.name for contestant in all_of_them]
    if results:
        print(table.markdown(results, names))
    if options.json:
        report = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": platform.platform(),
            "contestants": names,
            "results": results,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    finished = len(options.models) * len(lines(options))
    return 0 if len(results) == finished else 1


if __name__ == "__main__":
    sys.exit(main())
