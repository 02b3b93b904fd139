#!/bin/sh
# Installs the clients that the tests drive, into a folder (default target/clients): cases/clients/install.sh [FOLDER]
# rsyslog and logger come from the system: apt-get install rsyslog rsyslog-elasticsearch bsdutils
set -eu
folder=${1:-$(dirname "$0")/../../target/clients}
mkdir -p "$folder"
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet 'elasticsearch>=9,<10'
[ -f package.json ] || npm init -y >/dev/null
npm install --no-audit --no-fund --silent '@elastic/elasticsearch@9'
