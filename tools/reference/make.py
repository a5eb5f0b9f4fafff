#!/usr/bin/env python3
"""Makes the reference models: make.py [--only NAME]... OUT"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch

from tinymodels.families import CASES
from tinymodels.references import make


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", metavar="NAME", help="only this case (repeatable)")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    # One thread: a reduction split over threads may round differently.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    unknown = set(args.only or ()) - {c.name for c in CASES}
    if unknown:
        parser.error(f"no case named {', '.join(sorted(unknown))}; there are {', '.join(c.name for c in CASES)}")
    for case in CASES:
        if not args.only or case.name in args.only:
            make(case, args.out)
            print(case.name, sum(f.stat().st_size for f in (args.out / case.name).iterdir()) // 1000, "kB", flush=True)


if __name__ == "__main__":
    main()
