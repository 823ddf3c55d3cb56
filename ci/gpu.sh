#!/usr/bin/env bash
# The parts that need a machine with an NVIDIA GPU and CuPy; each stays under 9 minutes.
#   ci/gpu.sh --part tests      the tests marked gpu
#   ci/gpu.sh --part sanitize   the kernels' under compute-sanitizer memcheck, racecheck (SANITIZE: a pytest -k expression)
#   ci/gpu.sh --part bench      the benchmarks on the GPU
# Installs nothing: it uses PYTHON (default python3) as it is, and WORKERS processes for the tests (default: up to 8).
# Tests whose packages are missing are skipped. Results go to $OUT, else benchmarks/results, and are written as they
# come: gpu-*.jsonl, and gpu-*.failures.txt with what failed. Fails where there is no usable GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,5p' "$0" | cut -c3- >&2; exit 2; }
[ "${1:-}" = --part ] && [ $# -ge 2 ] || usage
part="$2"; shift 2
case "$part" in tests|sanitize|bench) ;; *) usage ;; esac
python="${PYTHON:-python3}"
out="$(mkdir -p "${OUT:-benchmarks/results}" && cd "${OUT:-benchmarks/results}" && pwd)"
export PYTHONPATH="$PWD:$PWD/ci${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

has() { "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }
for package in cupy numpy scipy sklearn numba safetensors pytest; do
  has "$package" || { echo "$package is not installed for $python: nothing can be run" >&2; exit 3; }
done
"$python" -c 'import cupy; n = cupy.cuda.runtime.getDeviceCount(); print(n, "GPU(s), CuPy", cupy.__version__); assert n'
"$python" -c 'from gpuclust.cli import doctor; found = doctor.examine(); doctor.show(found); assert found["gpu"]["usable"]'
pytest=(-m pytest -q -rs -m gpu -p pytest_jsonl --continue-on-collection-errors --tb=short)
told() { grep -h '^FAILED' "$@" | head -60 || true; }

case "$part" in
  tests)
    cores="$(nproc)"
    workers="${WORKERS:-$((cores < 8 ? cores : 8))}"
    if [ "$workers" -gt 1 ] && has xdist; then
      pytest+=(-n "$workers" --dist worksteal --max-worker-restart 100)
    fi
    # a kernel that never ends holds its process in a wait that only ending the process ends
    if has pytest_timeout; then pytest+=(-o timeout=150 -o timeout_method=thread); fi
    # run NAME UNTIL ARGUMENT...: status 5 of pytest is that -k leaves none
    run() {
      echo "== $1 after $SECONDS s"
      PYTEST_JSONL="$out/gpu-$1.jsonl" timeout -s INT -k 15 "$(($2 - SECONDS))" \
        "$python" "${pytest[@]}" "${@:3}" || { local got=$?; [ "$got" -eq 5 ] || status="$got"; }
    }
    # the kernels against the definitions; meanwhile the CPU's kernels are compiled, which take minutes
    timeout 300 "$python" ci/warm.py float32 & jobs=($!)
    timeout 300 "$python" ci/warm.py float64 & jobs+=($!)
    first=(test_kernels.py test_primitives.py test_choice.py)
    status=0
    run kernels 300 "${first[@]/#/tests/device/}" "$@"
    for job in "${jobs[@]}"; do wait "$job" || echo "warm.py did not end well: tests compile what they need"; done
    export NUMBA_NUM_THREADS="$((cores / workers > 1 ? cores / workers : 1))"
    run tests 520 tests/device "${first[@]/#/--ignore=tests/device/}" "$@"
    told "$out/gpu-kernels.failures.txt" "$out/gpu-tests.failures.txt"
    echo "== exit status $status after $SECONDS s (124, 137: time was up). First failures in full: $out/gpu-*.failures.txt"
    exit "$status" ;;
  sanitize)
    # the tools slow kernels a hundredfold, hence the selection.
    # CuPy's memory pool would hide an access just past an array: ci/pytest_jsonl.py turns it off.
    tool="$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2> /dev/null || true)"
    [ -n "$tool" ] || { echo "sanitize skipped: compute-sanitizer is not installed"; exit 0; }
    if has pytest_timeout; then pytest+=(-o timeout=0); fi
    status=0
    for check in memcheck racecheck; do
      GPUCLUST_SANITIZE=1 PYTEST_JSONL="$out/gpu-$check.jsonl" \
        timeout -s INT -k 15 245 "$tool" --tool "$check" --error-exitcode 9 --target-processes all \
        --log-file "$out/gpu-$check.log" \
        "$python" "${pytest[@]}" -k "${SANITIZE:-test_kernels}" "$@" tests/device || status=$?
      tail -n 3 "$out/gpu-$check.log" || true
      told "$out/gpu-$check.failures.txt"
    done
    exit "$status" ;;
  bench)
    # each benchmark writes its JSON to benchmarks/results as it goes; a run cut short leaves what it has
    if [ -n "${OUT:-}" ]; then  # those of --quick lie in a folder of their own
      trap 'for found in benchmarks/results/*cuda*.json benchmarks/results/quick; do
        [ ! -e "$found" ] || cp -r "$found" "$out"/ || true; done' EXIT
    fi
    timeout 530 "$python" -m benchmarks.run --device cuda "$@" ;;
esac
