# The staged hosts: names, addresses, and how one is started. Sourced by record.sh.
#
# A host is a network, mount, UTS, IPC and cgroup namespace with a file system of its own. Its processes
# stay in the machine's process-id space, so that a pid in auth.log and the pid in the audit log are the same.

AUDITED="gw1 web1 app1 db1 files1 admin-ws log1"
ALL_HOSTS="$AUDITED desk inet ext"

segment_of() { case $1 in web1|app1) echo dmz ;; inet|ext) echo out ;; *) echo lan ;; esac; }

addresses_of() {
  case $1 in
    web1) echo 10.20.10.10/24 192.0.2.10/32 ;;
    app1) echo 10.20.10.20/24 ;;
    db1) echo 10.20.20.30/24 ;;
    files1) echo 10.20.20.40/24 ;;
    admin-ws) echo 10.20.20.50/24 ;;
    log1) echo 10.20.20.60/24 ;;
    desk) echo 10.20.20.70/24 10.20.20.71/24 10.20.20.72/24 10.20.20.73/24 ;;
    inet) echo 198.51.100.2/24; for i in $(seq 10 69); do echo "198.51.100.$i/24"; done ;;
    ext) echo 203.0.113.66/24 203.0.113.67/24 ;;
  esac
}

gateway_of() { case $(segment_of "$1") in dmz) echo 10.20.10.1 ;; lan) echo 10.20.20.1 ;; out) [ "$1" = ext ] && echo 203.0.113.1 || echo 198.51.100.1 ;; esac; }

# Builds the file system of host $1 under $WORK/hosts/$1: a tmpfs of its own, with the shared /usr seen
# through an overlay of its own. Both have a device number no other host has; the audit rules and the
# splitting of the audit log rest on that.
build_root() {
  local host=$1 dir=$WORK/hosts/$1
  mkdir -p "$dir/root" "$dir/over"
  mount -t tmpfs -o mode=755,size=1g "scen-$host" "$dir/root"
  mount -t tmpfs -o mode=755,size=1g "scen-over-$host" "$dir/over"
  mkdir -p "$dir/over/upper" "$dir/over/work"
  ( cd "$BASE" && tar -cf - --exclude=./usr --exclude=./dev --exclude=./proc --exclude=./sys --exclude=./run . ) | tar -xf - -C "$dir/root"
  mkdir -p "$dir/root"/{usr,dev,proc,sys,run,tmp}
  chmod 1777 "$dir/root/tmp"
  mount -t overlay -o "lowerdir=$BASE/usr,upperdir=$dir/over/upper,workdir=$dir/over/work" "scen-usr-$host" "$dir/root/usr"
  echo "$host" > "$dir/root/etc/hostname"
  echo "nameserver $(gateway_of "$host")" > "$dir/root/etc/resolv.conf"
  [ "$(segment_of "$host")" = out ] && echo "nameserver 203.0.113.1" > "$dir/root/etc/resolv.conf"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$host" > "$dir/root/etc/hosts"
  tr -d - < /proc/sys/kernel/random/uuid > "$dir/root/etc/machine-id"
  cat /proc/sys/kernel/random/uuid > "$dir/root/etc/.boot-id"
  rm -f "$dir"/root/etc/ssh/ssh_host_*
  ssh-keygen -q -A -f "$dir/root" >/dev/null
  sed -i 's/ [^ ]*$/ root@'"$host"'/' "$dir"/root/etc/ssh/ssh_host_*.pub
}

# Starts the namespaces of host $1 and leaves the pid of its first process in $WORK/hosts/$1/pid.
start_host() {
  local host=$1 dir=$WORK/hosts/$1
  ip netns add "scen-$host"
  nsenter --net="/run/netns/scen-$host" unshare --mount --uts --ipc --cgroup --propagation private \
    "$STAGE/enter.sh" "$host" "$dir/root" < /dev/null > "$dir/init.log" 2>&1 &
  echo $! > "$dir/pid"
}

# Runs a command inside host $1, as root, with nothing of this machine's environment.
in_host() {
  local host=$1; shift
  nsenter -t "$(cat "$WORK/hosts/$host/pid")" -m -u -n -i -C -r -w env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@"
}

link_host() {
  local host=$1 seg
  seg=$(segment_of "$host")
  [ "$host" = gw1 ] && return
  ip link add "h-$host" type veth peer name "g-$host"
  ip link set "h-$host" netns "scen-$host" name eth0
  ip link set "g-$host" netns scen-gw1
  ip -n scen-gw1 link set "g-$host" master "br-$seg" up
  for a in $(addresses_of "$host"); do ip -n "scen-$host" addr add "$a" dev eth0; done
  ip -n "scen-$host" link set lo up
  ip -n "scen-$host" link set eth0 up
  ip -n "scen-$host" route add default via "$(gateway_of "$host")"
}

link_gateway() {
  ip -n scen-gw1 link set lo up
  for seg in dmz lan out; do ip -n scen-gw1 link add "br-$seg" type bridge; ip -n scen-gw1 link set "br-$seg" up; done
  ip -n scen-gw1 addr add 10.20.10.1/24 dev br-dmz
  ip -n scen-gw1 addr add 10.20.20.1/24 dev br-lan
  ip -n scen-gw1 addr add 203.0.113.1/24 dev br-out
  ip -n scen-gw1 addr add 198.51.100.1/24 dev br-out
  ip -n scen-gw1 route add 192.0.2.10/32 via 10.20.10.10 dev br-dmz
  ip netns exec scen-gw1 sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
}
