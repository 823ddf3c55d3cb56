#!/usr/bin/env bash
# ci/cpu.sh with the full fuzz, soak and simulation counts (longer than 15 minutes).
set -euo pipefail
export GPUCLUST_FUZZ=full
exec bash "$(dirname "$0")/cpu.sh" "$@"
