# The verbs of a contributor; `just` alone lists them.

fixtures := env("OUTRIGGER_FIXTURES", justfile_directory() / "../shared/fixtures")

_default:
    @just --list

# The binary, optimised
build:
    cargo build --release

# Completes a prompt with the bundled model
run prompt="Once upon a time":
    cargo run --release -- run "{{prompt}}"

# All tests; those that need reference fixtures say that they were skipped
test *args:
    cargo test --workspace {{args}}

# All tests, those with reference fixtures too
test-fixtures *args:
    OUTRIGGER_FIXTURES="{{fixtures}}" cargo test --workspace {{args}}

# Formats the code
fmt:
    cargo fmt --all
    cargo fmt --manifest-path fuzz/Cargo.toml

# What is checked without running anything
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Every interleaving of the barrier's lock-free part, in its own target folder
loom:
    RUSTFLAGS="--cfg loom" cargo test -p outrigger-kernels --release --target-dir target/loom --lib loom

# Every fuzz target, for some seconds each
fuzz seconds="10":
    tools/fuzz-smoke.sh {{seconds}}

# Licences, advisories and sources of the dependencies (needs cargo-deny)
deny:
    cargo deny check

# What a change must pass before it lands
ci:
    bash .ci/run
