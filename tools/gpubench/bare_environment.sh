#!/usr/bin/env bash
# Runs the GPU bench, tiny and on the CPU, with what a machine with a card has: torch, transformers and
# the hub's library of these versions and what they need, and diffusers' wheel alone, unpacked. Then
# once more with httpx2 blocked. Downloads about 3 GB once.
#   tools/gpubench/bare_environment.sh FOLDER [PYTHON]
# FOLDER keeps the environment and the results; PYTHON is 3.11 or 3.12 (python3.11).
set -euo pipefail
mkdir -p "${1:?usage: tools/gpubench/bare_environment.sh FOLDER [PYTHON]}"
folder=$(realpath "$1") python=${2:-python3.11}
cd "$(dirname "$0")/../.."

if [ ! -e "$folder/complete" ]; then
    rm -rf "$folder"/{venv,wheel,site}
    "$python" -m venv "$folder/venv"
    "$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input \
        torch==2.11.0 transformers==5.17.0 huggingface_hub==1.33.0 numpy pillow safetensors
    "$folder/venv/bin/python" -m pip download -qq --disable-pip-version-check --no-input \
        --no-deps --dest "$folder/wheel" diffusers==0.42.1
    "$folder/venv/bin/python" -m zipfile -e "$folder"/wheel/diffusers-*.whl "$folder/site"
    touch "$folder/complete"
fi

"$folder/venv/bin/python" - <<'PYTHON'
import platform
import sys
from importlib.metadata import version
from importlib.util import find_spec

print("python", platform.python_version(), *(
    f"{name} {version(name)}" for name in ("torch", "transformers", "huggingface_hub", "numpy")
))
absent = "accelerate httpx2 importlib_metadata matplotlib requests scipy torchsde torchvision".split()
print("absent:", *absent)
if present := [name for name in absent if find_spec(name)]:
    sys.exit(f"not a bare environment: it has {' '.join(present)}")
PYTHON

# Python imports a sitecustomize of its path at the start: an import of httpx2 then fails.
mkdir -p "$folder/blocked"
echo 'import sys; sys.modules["httpx2"] = None' >"$folder/blocked/sitecustomize.py"

for paths in "$folder/site" "$folder/blocked:$folder/site"; do
    results=$folder/$([ "$paths" = "$folder/site" ] && echo bare || echo without-httpx2)
    rm -rf "$results"
    for call in 1 2 3; do
        started=$SECONDS
        PYTHONPATH=.:$paths OMP_NUM_THREADS=1 "$folder/venv/bin/python" -m tools.gpubench \
            --call $call --tiny --device cpu --steps 4 --runs 2 --out "$results"
        echo "== $(basename "$results"), call $call: exit code 0 after $((SECONDS - started)) s =="
    done
done
