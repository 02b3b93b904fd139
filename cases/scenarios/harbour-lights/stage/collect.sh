#!/bin/bash
# Copies the hosts' logs out, splits the audit log, runs laurel and nfdump, compresses. Arguments: WORK OUT HERE.
set -eu
WORK=$1 OUT=$2 HERE=$3 STAGE=$3/stage
root() { echo "$WORK/hosts/$1/root"; }
in_root() { local h=$1; shift; nsenter -t "$(cat "$WORK/hosts/$h/pid")" -m -u -n -i -C -r -w env -i PATH=/usr/sbin:/usr/bin "$@"; }
cp "$(root ext)/root/steps.tsv" "$WORK/steps.tsv"
cp -r "$(root gw1)/var/lib/flows" "$WORK/flows"
L=$WORK/logs; rm -rf "$L"
for h in gw1 web1 app1 db1 files1 admin-ws log1; do mkdir -p "$L/$h"; done
python3 "$STAGE/split_audit.py" "$WORK" "$L"
for h in gw1 web1 app1 db1 files1 admin-ws log1; do
  for f in auth.log syslog; do [ ! -f "$(root log1)/var/log/remote/$h/$f" ] || cp "$(root log1)/var/log/remote/$h/$f" "$L/$h/$f"; done
done
cp "$(root app1)/var/log/auth.log" "$L/app1/auth.log.left-on-host"
mkdir -p "$L/web1/nginx"; cp "$(root web1)"/var/log/nginx/{access,error}.log "$L/web1/nginx/"
cp "$(root db1)"/var/log/postgresql/postgresql-15-main.log "$L/db1/postgresql.log"
in_root admin-ws journalctl -o json --no-pager > "$L/admin-ws/journal.json"
nfdump -R "$WORK/flows" -O tstart -o json > "$L/gw1/flows.json"
# Laurel reads the split stream as auditd would hand it over; in a process space of its own, so that it can
# add nothing about the machine the recording was made on.
mkdir -p "$WORK/laurel"
printf 'directory = "%s"\nstatusreport-period = 0\n[auditlog]\nfile = "laurel.log"\nsize = 900000000\n[transform]\nexecve-argv = [ "array" ]\n[translate]\nuniversal = false\nuser-db = false\n[enrich]\npid = true\ncontainer = false\n' "$WORK/laurel" > "$WORK/laurel.toml"
unshare --pid --fork --mount --mount-proc laurel -c "$WORK/laurel.toml" < "$L/app1/audit.log"
cp "$WORK/laurel/laurel.log" "$L/app1/laurel.json"
rm -rf "$OUT/logs"; mkdir -p "$OUT/logs"
(cd "$L" && find . -type f -size +0) | while read -r f; do mkdir -p "$OUT/logs/$(dirname "$f")"; zstd -q -15 "$L/$f" -o "$OUT/logs/$f.zst"; done
python3 "$HERE/truth.py" "$L" "$WORK/steps.tsv" "$OUT/truth.json"
