#!/bin/sh
# Makes both demo models from nothing: corpus, tokenizer, training, export, figures.
# Steps are those of the released files (see README.md).
set -eu
cd "$(dirname "$0")"
build="${BUILD:-build}"
assets="${ASSETS:-../../edge/assets}"
threads="${THREADS:-2}"
python="${PYTHON:-python3}"

mkdir -p "$assets"
"$python" prepare.py --out "$build" --documents 150000 --workers "$threads"
train() { "$python" train.py "$@" --data "$build" --batch 8 --threads "$threads"; }
train target --steps 1152
# The draft in two parts, each with a schedule of its own.
train draft --steps 521
train draft --init "$build/draft.pt" --seed 2 --steps 2458
for model in target draft; do
    "$python" export.py "$model" "$assets/demo-$model-q8_0.gguf" --data "$build"
done
"$python" measure.py --data "$build" --assets "$assets" --threads "$threads"
