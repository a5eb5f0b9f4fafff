#!/usr/bin/env python3
"""Holds our GGUF files against those of llama.cpp's own converter, key by key and byte by byte.

usage: converter_check.py LLAMA_CPP REFERENCES [--only NAME]...

LLAMA_CPP is a source tree with `conversion/` and `gguf-py/`. Only `general.*` (names, sizes) and
`tokenizer.*` (the converter would need a Hugging Face tokenizer) are left out.
"""

import argparse
import importlib
import logging
import sys
import tempfile
from pathlib import Path

# Keys we write and the converter does not.
OURS = {
    "mistral": {"llama.attention.sliding_window"},
}


def fields(reader) -> dict[str, object]:
    skip = ("general.", "tokenizer.", "GGUF.")
    return {k: (f.types, f.contents()) for k, f in reader.fields.items() if not k.startswith(skip)}


def differences(ours, theirs, allowed) -> list[str]:
    a, b = fields(ours), fields(theirs)
    out = [f"key {k}: ours {a.get(k)}, theirs {b.get(k)}" for k in sorted(a.keys() | b.keys()) if a.get(k) != b.get(k)]
    out = [line for line in out if line.split(":")[0].removeprefix("key ") not in allowed]
    x, y = ({t.name: t for t in r.tensors} for r in (ours, theirs))
    for name in sorted(x.keys() | y.keys()):
        if name not in x or name not in y:
            out.append(f"tensor {name}: only in {'ours' if name in x else 'theirs'}")
        elif x[name].tensor_type != y[name].tensor_type or list(x[name].shape) != list(y[name].shape):
            out.append(f"tensor {name}: {x[name].tensor_type.name} {x[name].shape} / {y[name].tensor_type.name} {y[name].shape}")
        elif x[name].data.tobytes() != y[name].data.tobytes():
            out.append(f"tensor {name}: values differ by up to {abs(x[name].data.astype(float) - y[name].data.astype(float)).max():.3g}")
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("llama_cpp", type=Path)
    parser.add_argument("references", type=Path)
    parser.add_argument("--only", action="append")
    args = parser.parse_args()
    # The converter needs the gguf package of its own tree, newer than the published one.
    sys.path[:0] = [str(args.llama_cpp / "gguf-py"), str(args.llama_cpp)]
    import gguf

    conversion = importlib.import_module("conversion")
    base = importlib.import_module("conversion.base")
    logging.disable(logging.WARNING)
    from tinymodels.families import CASES
    from tinymodels.weights import random_model

    failed = 0
    for case in CASES:
        if args.only and case.name not in args.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            random_model(case).save_pretrained(folder)
            # Gemma 3's class counts the tokens in this file to cut padding rows.
            (folder / "tokenizer.json").write_text(
                '{"model": {"vocab": {%s}}, "added_tokens": []}' % ", ".join(f'"{i}": {i}' for i in range(260))
            )
            cls = conversion.get_model_class(case.hf_class)
            target = folder / "theirs.gguf"
            converter = type("Bare", (cls,), {"set_vocab": lambda self: None, "model_arch": cls.model_arch})(
                folder, gguf.LlamaFileType.MOSTLY_F16, target, eager=True
            )
            converter.write()
            ours = gguf.GGUFReader(args.references / case.name / f"{case.name}-F16.gguf")
            diff = differences(ours, gguf.GGUFReader(target), OURS.get(case.name, set()))
        print(case.name, "ok" if not diff else "\n  " + "\n  ".join(diff), flush=True)
        failed += bool(diff)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
