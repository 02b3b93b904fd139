#!/bin/bash
# Stages the intrusion "harbour lights" on this machine and records what the hosts' own logs say about it.
#
#   sudo ./record.sh [OUTPUT]        default: ./logs beside this script, plus ./truth.json
#
# Needs root, kernel audit with no other audit daemon, and from Debian 12: auditd laurel iproute2 mmdebstrap
# openssh-client python3 zstd. About fifteen minutes and 4 GB of memory. Everything it starts it stops again.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
STAGE=$HERE/stage
OUT=${1:-$HERE}
WORK=${WORK:-$(mktemp -d /var/tmp/scenario.XXXXXX)}
BASE=$WORK/base
BASE_TAR=${BASE_TAR:-$WORK/base.tar}
PACKAGES=nginx-light,openssh-server,openssh-client,sudo,cron,dnsmasq-base,rsyslog,iproute2,iputils-ping,procps,curl,ca-certificates,tar,gzip,zstd,dnsutils,git,vim-tiny,python3-minimal,python3,softflowd,nfdump,auditd,laurel,sshpass,rsync,ncat,nmap,systemd,logrotate,postgresql,libpam-modules,passwd,less,netbase,login,nano,iptables,net-tools,findutils
. "$STAGE/hosts.sh"; . "$STAGE/audit-rules.sh"; . "$STAGE/provision.sh"

stop() { echo "record.sh: $*" >&2; exit 2; }
[ "$(id -u)" = 0 ] || stop "must run as root"
command -v auditctl > /dev/null || stop "auditctl is missing; install auditd"
status=$(auditctl -s 2>&1) || stop "kernel audit is not available here: $status"
[ "$(awk '/^pid/{print $2}' <<< "$status")" = 0 ] || stop "another audit daemon is running; stop it first"
[ "$(auditctl -l)" = "No rules" ] || stop "audit rules are loaded already; not touching them"

PID_MAX=$(cat /proc/sys/kernel/pid_max)
clean_up() {
  auditctl -D > /dev/null 2>&1; auditctl -e 0 > /dev/null 2>&1
  [ -f "$WORK/auditd.pid" ] && kill "$(cat "$WORK/auditd.pid")" 2> /dev/null
  [ -n "${SAMPLER:-}" ] && kill "$SAMPLER" 2> /dev/null
  for h in $ALL_HOSTS; do
    [ -f "$WORK/hosts/$h/pid" ] || continue
    # All processes of a host share its UTS namespace, and nothing else on the machine does.
    uts=$(readlink "/proc/$(cat "$WORK/hosts/$h/pid")/ns/uts" 2> /dev/null) || continue
    [ "$uts" != "$(readlink /proc/self/ns/uts)" ] || continue
    for p in /proc/[0-9]*; do [ "$(readlink "$p/ns/uts" 2> /dev/null)" = "$uts" ] && kill -9 "${p#/proc/}" 2> /dev/null; done
  done
  sleep 1
  for h in $ALL_HOSTS; do
    ip netns del "scen-$h" 2> /dev/null
    umount "$WORK/hosts/$h/root/usr" 2> /dev/null; umount "$WORK/hosts/$h/root" 2> /dev/null; umount "$WORK/hosts/$h/over" 2> /dev/null
  done
  umount "$BASE/proc" "$BASE/dev" 2> /dev/null
  echo "$PID_MAX" > /proc/sys/kernel/pid_max
}
trap clean_up EXIT; trap 'exit 130' INT TERM

echo "base file system" >&2
mkdir -p "$BASE"
[ -f "$BASE_TAR" ] || mmdebstrap --quiet --variant=minbase --mode=root --include=$PACKAGES bookworm "$BASE_TAR" || stop "mmdebstrap failed"
rm -rf "$BASE"; mkdir -p "$BASE"
tar -xf "$BASE_TAR" -C "$BASE" --exclude='./dev/*'
prepare_base
mkdir -p "$BASE/var/log/audit"; chmod 700 "$BASE/var/log/audit"
mount --bind /proc "$BASE/proc"; mount --bind /dev "$BASE/dev"

echo "hosts" >&2
echo 4194304 > /proc/sys/kernel/pid_max   # no pid comes twice, so that a pid names one process
for h in $ALL_HOSTS; do build_root "$h"; done
provision
for h in $ALL_HOSTS; do start_host "$h"; done
for h in $ALL_HOSTS; do
  for _ in $(seq 50); do [ -e "/proc/$(cat "$WORK/hosts/$h/pid")/root/run/ready" ] && break; sleep 0.1; done
  [ "$(in_host "$h" hostname)" = "$h" ] || stop "host $h did not come up: $(cat "$WORK/hosts/$h/init.log")"
done
link_gateway
for h in $ALL_HOSTS; do link_host "$h"; done
start_services
in_host desk sh -c 'ping -c 1 -W 2 10.20.10.10 > /dev/null && curl -s -o /dev/null http://192.0.2.10/app/' || stop "the staged network does not carry traffic"

echo "audit" >&2
cp "$STAGE/auditd.conf" "$BASE/etc/audit/auditd.conf"; chmod 640 "$BASE/etc/audit/auditd.conf"
chroot "$BASE" /usr/sbin/auditd -n > "$WORK/auditd.out" 2>&1 &
echo $! > "$WORK/auditd.pid"
sleep 1
auditctl -b 32768 > /dev/null
for h in $AUDITED; do note_devices "$h"; done
for h in $AUDITED; do load_rules "$h"; done
load_network_rules
python3 "$STAGE/sample_pids.py" "$WORK" & SAMPLER=$!
auditctl -e 1 > /dev/null
[ "$(auditctl -s | awk '/^enabled/{print $2}')" = 1 ] || stop "kernel audit cannot be enabled"

echo "work day" >&2
date -u +%Y-%m-%dT%H:%M:%SZ > "$WORK/started"
in_host inet python3 - < "$STAGE/visitors.py" > /dev/null 2>&1 &
for who in mira jonas ada names; do in_host desk bash -s "$who" < "$STAGE/workday.sh" > /dev/null 2>&1 & done
sleep "${BEFORE:-150}"
echo "intrusion" >&2
in_host ext bash -s < "$STAGE/intrusion.sh" > "$WORK/intrusion.out" 2>&1
sleep "${AFTER:-90}"
date -u +%Y-%m-%dT%H:%M:%SZ > "$WORK/ended"

echo "collect" >&2
auditctl -s | grep -E '^(lost|backlog) ' >&2
auditctl -D > /dev/null; auditctl -e 0 > /dev/null
kill "$SAMPLER"; sleep 1
kill "$(cat "$WORK/auditd.pid")"; sleep 1
for s in dmz lan; do in_host gw1 softflowctl -c "/run/softflowd-$s.ctl" shutdown > /dev/null 2>&1; done
sleep 2
in_host gw1 sh -c 'kill -TERM $(cat /run/nfcapd.pid)'; sleep 2
"$STAGE/collect.sh" "$WORK" "$OUT" "$HERE" || stop "collecting failed; the raw material is in $WORK"
echo "done: $OUT" >&2
