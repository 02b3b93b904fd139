#!/bin/bash
# First process of a staged host: names it, mounts what it needs, changes root, waits.
set -e
host=$1 root=$2
hostname "$host"
mount --make-rprivate /
mount --rbind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"; mkdir "$root/sys/fs/cgroup/systemd"   # journald looks for it
mount -t cgroup -o none,name=systemd systemd "$root/sys/fs/cgroup/systemd"
mount -t tmpfs -o mode=755,size=64m tmpfs "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir -p "$root"/dev/{pts,shm} "$root"/run/{sshd,lock,user,postgresql,systemd/journal} "$root/.old"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
for d in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do set -- $d; mknod -m 666 "$root/dev/$1" c "$2" "$3"; done
ln -s pts/ptmx "$root/dev/ptmx"; ln -s /proc/self/fd "$root/dev/fd"; ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
chown 100:0 "$root/run/postgresql" 2>/dev/null || true; chmod 2777 "$root/run/postgresql"
touch "$root/run/utmp"
mount --bind "$root/etc/.boot-id" "$root/proc/sys/kernel/random/boot_id"
cd "$root"
pivot_root . .old
exec env -i PATH=/usr/sbin:/usr/bin HOME=/root chroot . /bin/bash -c 'umount -l /.old; rmdir /.old; touch /run/ready; exec sleep infinity'
