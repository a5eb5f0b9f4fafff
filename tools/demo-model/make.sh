#!/bin/sh
# Makes both demo models from nothing: corpus, tokenizer, training, export, figures.
# Steps are those of the released files (see README.md); THREADS is the machine's.
set -eu
cd "$(dirname "$0")"
build="${BUILD:-build}"
assets="${ASSETS:-../../edge/assets}"
threads="${THREADS:-2}"
python="${PYTHON:-python3}"

mkdir -p "$assets"
"$python" prepare.py --out "$build" --documents 150000 --workers "$threads"
"$python" train.py target --data "$build" --steps "${TARGET_STEPS:-TARGET}" --threads "$threads"
"$python" train.py draft --data "$build" --steps "${DRAFT_STEPS:-DRAFT}" --threads "$threads"
for model in target draft; do
    "$python" export.py "$model" "$assets/demo-$model-q8_0.gguf" --data "$build"
done
"$python" measure.py --data "$build" --assets "$assets" --threads "$threads"
