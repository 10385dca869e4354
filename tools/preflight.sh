#!/bin/sh
# What the build needs of this machine, checked before anything is installed.
#
#   preflight.sh [PYTHON]    prints the Python to use: PYTHON, else the first one of a fitting version on PATH
#
# Ends with 1 and one line, what is missing and the command that brings it, where something is.

root=$(dirname "$0")/..
# The oldest versions that do, from where they are declared.
python_minor=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\)"$/\1/p' "$root/pyproject.toml")
rust_minor=$(sed -n 's/^rust-version = "1\.\([0-9]*\)"$/\1/p' "$root/Cargo.toml")

missing() {
    echo "modelway: $1; run: $2" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# package APT DNF BREW: the command of the package manager that is here.
package() {
    if has apt-get; then echo "sudo apt-get install -y $1"
    elif has dnf; then echo "sudo dnf install -y $2"
    elif has brew; then echo "brew install $3"
    else echo "your system's package manager, to install $3"
    fi
}

# Run, not only found: a version manager puts names on PATH that it then refuses.
fits() { "$1" -c "import sys; sys.exit(sys.version_info < (3, $python_minor))" >/dev/null 2>&1; }

python=
for candidate in ${1:-python3 python3.13 python3.12 python3.11 python3.14}; do
    if fits "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    have=$("${1:-python3}" --version 2>/dev/null) || have="no ${1:-python3}"
    missing "Python 3.$python_minor or newer is needed, and there is $have" "$(package 'python3.11 python3.11-venv' python3.13 python@3.13)"
fi
"$python" -c 'import ensurepip, venv' 2>/dev/null || {
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    missing "$python lacks the module venv" "$(package "python$version-venv" "python$version" "python@$version")"
}

if ! has cargo || ! has rustc; then
    missing "a Rust toolchain is needed" "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . ~/.cargo/env"
fi
rust=$(rustc --version 2>/dev/null) || missing "rustc does not run" "rustup default stable"
have=${rust#rustc 1.}
if [ "${have%%.*}" -lt "$rust_minor" ] 2>/dev/null; then
    missing "Rust 1.$rust_minor or newer is needed, and there is $rust" "rustup update stable && rustup default stable"
fi
has cc || missing "a C linker is needed by Rust" "$(package gcc gcc gcc)"

echo "$python"
