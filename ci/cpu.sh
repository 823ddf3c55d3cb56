#!/usr/bin/env bash
# Fresh environment, lint, types, the whole suite on the CPU, where every CUDA kernel is compiled and emulated.
# Reduced fuzz counts; ci/full.sh runs the full ones. Needs Python >= 3.11 with venv, pip and a package index, and a C++
# compiler on Linux x86-64 for the emulator (else its tests are skipped). PYTHON, VENV and CXX may be set.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${VENV:-.venv-ci}"
export GPUCLUST_FUZZ="${GPUCLUST_FUZZ:-reduced}"
export PYTHONDONTWRITEBYTECODE= PIP_DISABLE_PIP_VERSION_CHECK=1

step() { printf '\n== %s (%ss) ==\n' "$1" "$SECONDS"; }

step "environment: $venv"
"${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}: set PYTHON=")'
"${PYTHON:-python3}" -m venv --clear "$venv"
python="$venv/bin/python"
# most modules are never imported: those that are compile themselves
"$python" -m pip install --quiet --no-compile -e ".[test,cli,files,compile]"

step "ruff"
"$python" -m ruff check .
step "mypy, and the CPU kernels beside it"
"$python" -m mypy & jobs=($!)
for dtype in float32 float64; do NUMBA_NUM_THREADS=1 "$python" ci/warm.py "$dtype" & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job"; done
step "tests, GPUCLUST_FUZZ=$GPUCLUST_FUZZ (the GPU tests that a machine without one skips are counted below)"
"$python" -m pytest -q -rs -n logical --maxprocesses 4 --dist worksteal "$@"
step "done"
