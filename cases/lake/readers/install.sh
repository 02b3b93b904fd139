#!/bin/sh
# Installs the engines that read the lake's Delta table in tests, into a folder (default target/readers): cases/lake/readers/install.sh [FOLDER]
set -eu
folder=${1:-$(dirname "$0")/../../../target/readers}
mkdir -p "$folder"
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet 'deltalake>=1.1,<2' 'duckdb>=1.3,<3' 'pyarrow>=20,<30' 'chdb>=4.4,<5'
