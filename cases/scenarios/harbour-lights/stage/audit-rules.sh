# The audit rules a careful administrator would load, once per audited host. Sourced by record.sh.
#
# The kernel has one audit system for all namespaces, so each rule also names the host's own file system
# (by device number, or by a path on it). Nothing else on this machine matches.
note_devices() {
  { stat -c "$1 %d" "$WORK/hosts/$1/root" "$WORK/hosts/$1/root/usr"; in_host "$1" stat -c "$1 %d" /run /dev /dev/shm; } >> "$WORK/devices"
}
load_rules() {
  local host=$1 root=$WORK/hosts/$1/root usr own rule
  own=$(stat -c %d "$root"); usr=$(stat -c %d "$root/usr")
  for dev in "$own" "$usr"; do
    auditctl -a always,exit -F arch=b64 -S execve,execveat -F devmajor=$((dev / 256)) -F devminor=$((dev % 256)) -k exec
  done
  auditctl -a always,exit -F arch=b64 -S unlink,unlinkat,rename,renameat,renameat2,truncate -F devmajor=$((own / 256)) -F devminor=$((own % 256)) -F 'auid>=1000' -F 'auid!=unset' -k delete
  auditctl -a always,exit -F arch=b64 -S chmod,fchmod,fchmodat,chown,fchown,fchownat,lchown -F devmajor=$((own / 256)) -F devminor=$((own % 256)) -F 'auid>=1000' -F 'auid!=unset' -k perm-change
  auditctl -a always,exit -F arch=b64 -F "path=$root/etc/shadow" -F perm=r -k shadow-read
  auditctl -a always,exit -F arch=b64 -F "dir=$root/etc" -F perm=wa -k etc-change
  auditctl -a always,exit -F arch=b64 -F "dir=$root/root" -F perm=wa -k root-home
  auditctl -a always,exit -F arch=b64 -F "dir=$root/root/.ssh" -F perm=r -k ssh-key-read
  auditctl -a always,exit -F arch=b64 -F "dir=$root/var/spool/cron" -F perm=wa -k cron-change
  auditctl -a always,exit -F arch=b64 -F "dir=$root/var/log" -F perm=wa -k log-change
  auditctl -a always,exit -F arch=b64 -F "dir=$root/home" -F perm=wa -k home-change
  case $host in
    web1) auditctl -a always,exit -F arch=b64 -F "dir=$root/opt/portal" -F perm=wa -k web-content
          auditctl -a always,exit -F arch=b64 -F "dir=$root/opt/portal/keys" -F perm=r -k app-secret
          auditctl -a always,exit -F arch=b64 -F "path=$root/opt/portal/config.ini" -F perm=r -k app-secret ;;
    files1) auditctl -a always,exit -F arch=b64 -F "dir=$root/srv/documents/contracts" -F perm=r -F 'auid>=1000' -F 'auid!=unset' -k contracts-read ;;
  esac
}
load_network_rules() {
  auditctl -a always,exit -F arch=b64 -S connect -F saddr_fam=2 -k connect
}
