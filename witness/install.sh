#!/bin/sh
# Makes the Python environment of the witness and the verifier in a folder (default target/witness): witness/install.sh [FOLDER]
set -eu
folder=${1:-$(dirname "$0")/../target/witness}
mkdir -p "$folder"
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet 'cryptography>=48,<60' 'pyarrow>=20,<30'
