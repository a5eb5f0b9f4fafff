"""Reference logits and greedy continuations: transformers, float32, eager, one thread, no cache."""

import json
import re
from pathlib import Path

import numpy as np
import torch
import transformers

from . import vocabulary
from .export import write
from .tensors import quantized_state
from .weights import random_model

LENGTHS = (1, 17, 64, 300)
PROMPT, STEPS, CANDIDATES = 17, 32, 24


def kept(length: int) -> list[int]:
    """Positions whose logits are stored, thinned to keep the repository small."""
    if length <= 17:
        return list(range(0, length, 4))
    if length == 64:
        return [*range(0, 64, 4), 63]
    # Early, around the small windows and original contexts that cases use, and the end.
    return [0, 8, 31, 32, 33, 63, 64, 65, 100, 128, 160, 200, 240, 270, 298, 299]


def logits(model, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def greedy(model, prompts: torch.Tensor) -> dict:
    """Continues every candidate prompt; of the varied runs, keeps the one with the clearest choices."""
    ids, margins = prompts, []
    for _ in range(STEPS):
        best = logits(model, ids)[:, -1].topk(2, dim=-1)
        margins.append(best.values[:, 0] - best.values[:, 1])
        ids = torch.cat([ids, best.indices[:, :1]], dim=1)
    margins = torch.stack(margins, dim=1)
    varied = [min(len(set(row.tolist())), STEPS // 4) for row in ids[:, PROMPT:]]
    i = max(range(len(ids)), key=lambda row: (varied[row], float(margins[row].min())))
    return {
        "prompt": ids[i, :PROMPT].tolist(),
        "tokens": ids[i, PROMPT:].tolist(),
        "margins": [round(m, 5) for m in margins[i].tolist()],
    }


def make(case, root: Path) -> None:
    folder = root / case.name
    folder.mkdir(parents=True, exist_ok=True)
    model = random_model(case)
    draw = torch.Generator().manual_seed(case.seed + 1)
    ids = lambda *shape: torch.randint(0, vocabulary.SIZE, shape, generator=draw)
    inputs = {n: ids(n) for n in LENGTHS}
    prompts = ids(CANDIDATES, PROMPT)
    files = write(case, model, folder)

    def reference(kind: str, lengths) -> dict:
        out = {"logits": {}, "positions": {}}
        for n in lengths:
            name = f"logits-{kind}-{n}.npy"
            all_logits = logits(model, inputs[n][None])[0]
            assert torch.isfinite(all_logits).all(), f"{case.name} {kind} {n}"
            np.save(folder / name, all_logits[kept(n)].numpy().astype(np.float32))
            out["logits"][str(n)] = name
            out["positions"][str(n)] = kept(n)
        out["greedy"] = greedy(model, prompts)
        return out

    references = {"float": reference("float", LENGTHS)}
    for kind in case.types:
        if kind.startswith("Q"):
            state = model.state_dict()
            original = {k: v.clone() for k, v in state.items()}
            model.load_state_dict(quantized_state(model, kind))
            references[kind] = reference(kind, (64,))
            model.load_state_dict(original)
    kind_of = lambda f: f.removesuffix(".gguf").rsplit("-", 1)[1]
    ref = {
        "name": case.name,
        "hf_class": case.hf_class,
        "gguf_arch": case.gguf_arch,
        "note": case.note,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "hf_config": case.config.to_dict(),
        "n_vocab": vocabulary.SIZE,
        "inputs": {str(n): t.tolist() for n, t in inputs.items()},
        "files": {f: {"reference": kind_of(f) if kind_of(f) in references else "float"} for f in files},
        "references": references,
    }
    text = json.dumps(ref, indent=1, default=str)
    (folder / "ref.json").write_text(compact_lists(text) + "\n")


def compact_lists(text: str) -> str:
    """One line per list of numbers: indentation would double these files."""
    return re.sub(r"\[[\s\d.,e-]+\]", lambda m: re.sub(r"\s+", " ", m[0]).replace("[ ", "[").replace(" ]", "]"), text)
