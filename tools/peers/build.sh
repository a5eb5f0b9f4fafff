#!/usr/bin/env bash
# Builds llama.cpp's tools as peers to measure against, from the source package
# of llama-cpp-python on PyPI, which brings llama.cpp with it.
#
#   tools/peers/build.sh DIR            for this processor
#   tools/peers/build.sh --avx2 DIR     with AVX2, FMA, F16C and BMI2, without AVX-512
#
# The tools are in DIR/build/bin after. Needs cmake, ninja, a C++ compiler and
# python3 with venv. TARGETS names other tools, JOBS bounds the compilers that
# run at a time, LLAMA_CPP_PYTHON is the package's version, SOURCE a folder that
# has llama.cpp's source already (two builds may share one).
set -euo pipefail

usage() {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}

machine=(-DGGML_NATIVE=ON)
if [[ ${1:-} == --avx2 ]]; then
  machine=(-DGGML_NATIVE=OFF -DGGML_SSE42=ON -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON
    -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_AVX512=OFF)
  shift
fi
[[ $# -eq 1 && $1 != -* ]] || usage
version=${LLAMA_CPP_PYTHON:-0.3.36}
targets=${TARGETS:-llama-bench llama-batched-bench llama-completion}

for tool in cmake ninja python3; do
  if ! command -v "$tool" >/dev/null; then
    echo "build.sh: $tool is not installed; on Debian: apt-get install cmake ninja-build python3-venv" >&2
    exit 1
  fi
done

mkdir -p "$1"
cd "$1"
if [[ -z ${SOURCE:-} ]]; then
  if [[ ! -f source/CMakeLists.txt ]]; then
    # The build backend is there so that pip can read the package's metadata.
    python3 -m venv python
    python/bin/pip --quiet install scikit-build-core
    python/bin/pip --quiet download --no-deps --no-build-isolation --no-binary :all: \
      "llama-cpp-python==$version"
    rm -rf package source
    mkdir package
    tar xzf "llama_cpp_python-$version.tar.gz" -C package --strip-components 1
    mv package/vendor/llama.cpp source
    rm -rf package python
  fi
  SOURCE=$PWD/source
fi

cmake -S "$SOURCE" -B build -G Ninja -DCMAKE_BUILD_TYPE=Release "${machine[@]}" \
  -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF \
  -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF >cmake.log
# shellcheck disable=SC2086 # several names
ninja -C build ${JOBS:+-j "$JOBS"} $targets
echo "built: $PWD/build/bin"
