#!/bin/bash
# boot.sh ROOT CGROUP: boots the Debian in ROOT with its own systemd as pid 1, in namespaces of its own (mounts, processes,
# network, names, ipc, cgroups below CGROUP). Ends with that systemd, and takes it along when it is ended itself. Needs root.
set -eu
root=$1
cgroup=$2

mkdir "$cgroup"
echo $$ >"$cgroup/cgroup.procs"
exec unshare --mount --pid --net --uts --ipc --cgroup --propagation private --fork --kill-child=KILL \
  bash -eu -s - "$root" <<'INSIDE'
cd "$1"
mount --bind . .
cd "$1"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
ip link set lo up
hostname primary
mkdir -p old
pivot_root . old
umount -l /old
# What systemd mounts for a service, its credentials for instance, has to be seen by the others.
mount --make-rshared /
exec env -i container=namespaces PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=multi-user.target
INSIDE
