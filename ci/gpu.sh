#!/usr/bin/env bash
# The parts that need a machine with an NVIDIA GPU and CuPy; each stays under 9 minutes.
#   ci/gpu.sh --part tests      the tests marked gpu
#   ci/gpu.sh --part sanitize   the kernels' under compute-sanitizer memcheck, racecheck (SANITIZE: a pytest -k expression)
#   ci/gpu.sh --part bench      the benchmarks on the GPU
# Installs nothing: it uses PYTHON (default python3) as it is. Results go to $OUT, else benchmarks/results, and are
# written as they come. Fails where there is no usable GPU, rather than report tests that were all skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,5p' "$0" | cut -c3- >&2; exit 2; }
[ "${1:-}" = --part ] && [ $# -ge 2 ] || usage
part="$2"; shift 2
python="${PYTHON:-python3}"
out="$(mkdir -p "${OUT:-benchmarks/results}" && cd "${OUT:-benchmarks/results}" && pwd)"
export PYTHONPATH="$PWD:$PWD/ci${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

"$python" -c 'import cupy; n = cupy.cuda.runtime.getDeviceCount(); print(n, "GPU(s), CuPy", cupy.__version__); assert n'
pytest=(-m pytest -q -rs -m gpu -p pytest_jsonl)

case "$part" in
  tests)
    PYTEST_JSONL="$out/gpu-tests.jsonl" timeout 540 "$python" "${pytest[@]}" "$@" ;;
  sanitize)
    # the tools slow kernels a hundredfold, hence the selection.
    # CuPy's memory pool would hide an access just past an array: ci/pytest_jsonl.py turns it off.
    command -v compute-sanitizer > /dev/null || { echo "sanitize skipped: compute-sanitizer is not installed"; exit 0; }
    for tool in memcheck racecheck; do
      GPUCLUST_SANITIZE=1 PYTEST_JSONL="$out/gpu-$tool.jsonl" \
        timeout 265 compute-sanitizer --tool "$tool" --error-exitcode 9 --target-processes all \
        --log-file "$out/gpu-$tool.log" \
        "$python" "${pytest[@]}" -o timeout=0 -k "${SANITIZE:-test_kernels}" "$@"
    done ;;
  bench)
    # each benchmark writes its JSON to benchmarks/results as it goes; a run cut short leaves what it has
    if [ -n "${OUT:-}" ]; then trap 'cp benchmarks/results/*cuda*.json "$out"/' EXIT; fi
    timeout 540 "$python" -m benchmarks.run --device cuda "$@" ;;
  *) usage ;;
esac
