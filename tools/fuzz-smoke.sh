#!/usr/bin/env bash
# Runs every fuzz target for a few seconds each: tools/fuzz-smoke.sh [SECONDS]
#
# With a nightly toolchain AddressSanitizer watches. Without one the targets
# run unsanitized on stable; cargo-fuzz passes flags that stable refuses, so
# RUSTC_BOOTSTRAP lifts that for this build alone.
set -euo pipefail
seconds=${1:-10}
cd "$(dirname "$0")/.."

if ! cargo fuzz --version >/dev/null 2>&1; then
  cargo install cargo-fuzz --locked
fi
if cargo +nightly --version >/dev/null 2>&1; then
  fuzz=(cargo +nightly fuzz run)
else
  export RUSTC_BOOTSTRAP=1
  fuzz=(cargo fuzz run --sanitizer none)
fi
host=$(rustc -vV | sed -n 's/^host: //p')

for source in fuzz/fuzz_targets/*.rs; do
  target=$(basename "$source" .rs)
  folders=("fuzz/corpus/$target")
  if [[ -d fuzz/seeds/$target ]]; then
    folders+=("fuzz/seeds/$target")
  fi
  mkdir -p "${folders[0]}"
  echo "== $target, $seconds s"
  "${fuzz[@]}" --target "$host" --target-dir fuzz/target "$target" "${folders[@]}" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
