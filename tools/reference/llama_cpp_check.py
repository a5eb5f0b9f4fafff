#!/usr/bin/env python3
"""Runs every reference file through llama.cpp and records how far its logits are from the references.

usage: llama_cpp_check.py REFERENCES [--only NAME]...   (writes REFERENCES/llama_cpp.json)

Needs llama-cpp-python; to use a llama.cpp that is built already, put the package's source on
PYTHONPATH and the folder of libllama.so into LLAMA_CPP_LIB_PATH.
"""

import argparse
import ctypes
import json
from pathlib import Path

import llama_cpp
import numpy as np

# What llama.cpp does on purpose otherwise than Hugging Face; see README.md.
IGNORES_WINDOW = "llama.cpp ignores the sliding window of this family; inputs longer than it differ"
KNOWN = {
    "mistral": IGNORES_WINDOW,
    "phi3-window": IGNORES_WINDOW,
    "command-r-qk-norm": "llama.cpp looks for these norms only in models of 64 layers and more: does not load",
}
# Long or short factors follow the context size there: above phi3-longrope's 256 for input 300 only.
CONTEXT = {1: 256, 17: 256, 64: 256, 300: 512}


def run(model, n_vocab: int, ids: list[int]) -> np.ndarray:
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = CONTEXT[len(ids)]
    params.n_batch = params.n_ubatch = 512
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    # A window must be applied as written, not only where the cache has dropped a cell.
    params.swa_full = True
    context = llama_cpp.llama_init_from_model(model, params)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, i, 1
        batch.seq_id[i][0], batch.logits[i] = 0, 1
    if llama_cpp.llama_decode(context, batch) != 0:
        raise RuntimeError("llama_decode failed")
    out = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (len(ids), n_vocab)).copy()
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    return out


def nmse(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(((a - b) ** 2).sum() / (b**2).sum())


def check(folder: Path, only) -> dict:
    table = {}
    for ref_path in sorted(folder.glob("*/ref.json")):
        ref = json.loads(ref_path.read_text())
        if only and ref["name"] not in only:
            continue
        for file, entry in ref["files"].items():
            row = table[file] = {}
            if ref["name"] in KNOWN:
                row["note"] = KNOWN[ref["name"]]
            model = llama_cpp.llama_model_load_from_file(
                str(ref_path.parent / file).encode(), llama_cpp.llama_model_default_params()
            )
            if not model:
                row["nmse"] = None
                print(file, "does not load", flush=True)
                continue
            reference = ref["references"][entry["reference"]]
            row["nmse"] = {}
            for n, name in reference["logits"].items():
                got = run(model, ref["n_vocab"], ref["inputs"][n])[reference["positions"][n]]
                row["nmse"][n] = float(f"{nmse(got, np.load(ref_path.parent / name)):.2e}")
            llama_cpp.llama_model_free(model)
            print(file, row["nmse"], flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("references", type=Path)
    parser.add_argument("--only", action="append")
    args = parser.parse_args()
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    table = check(args.references, args.only)
    target = args.references / "llama_cpp.json"
    if args.only and target.exists():
        table = json.loads(target.read_text()) | table
    target.write_text("{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(table.items())) + "\n}\n")


if __name__ == "__main__":
    main()
