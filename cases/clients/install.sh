#!/bin/sh
# Installs the clients that the tests drive, into a folder (default target/clients): cases/clients/install.sh [FOLDER]
# rsyslog, logger and the journal's uploader come from the system: apt-get install rsyslog rsyslog-elasticsearch rsyslog-gnutls rsyslog-openssl rsyslog-relp systemd-journal-remote bsdutils
set -eu
folder=${1:-$(dirname "$0")/../../target/clients}
mkdir -p "$folder"
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet 'elasticsearch>=9,<10' 'splunk-handler==3.0.0' 'graypy==2.1.0' 'pygelf==0.4.3' 'fluent-logger==0.11.1' \
  'opentelemetry-exporter-otlp-proto-http==1.45.2' 'opentelemetry-exporter-otlp-proto-grpc==1.45.2' 'opentelemetry-sdk==1.45.2'
[ -f package.json ] || npm init -y >/dev/null
npm install --no-audit --no-fund --silent '@elastic/elasticsearch@9' '@fluent-org/logger@1.0.10' 'fluent-logger@3.4.1'
