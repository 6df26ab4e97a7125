#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a lab machine (busybox, in the initramfs). It loads the modules, mounts the
# host's tree read-only below the lab's own packages below a tmpfs, makes eth0 and rxe0, and writes
# ROLE.up (or ROLE.broken: what) into the job folder. Then it runs one command after the other in that
# tree: the script ROLE.N.cmd, for ROLE.N.seconds at most; ROLE.N.rc is its exit status.
# (Files, because an emulated serial port loses an interrupt in some hundred lines.)
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd

# shellcheck disable=SC2013 # words are wanted
for word in $(cat /proc/cmdline); do
    case $word in lab.*=*) eval "${word#lab.}" ;; esac # ROLE ME PEER MTU
done

# Whoever looks sees a whole file or none.
tell()
{
    echo "$2" >"/m/job/$ROLE.part"
    mv "/m/job/$ROLE.part" "/m/job/$ROLE.$1"
}

broken()
{
    echo "lab: broken: $*" # to the console too: there may be no job folder
    tell broken "$*"
    poweroff -f
}

for m in /mods/*; do
    insmod "$m" || echo "insmod $m failed"
done

cd /m || exit
mkdir host packages tmp job root
share=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o $share,ro,cache=loose host host || broken "mount of the host's tree"
mount -t 9p -o $share,ro,cache=loose packages packages || broken "mount of the packages"
mount -t 9p -o $share,cache=none job job || broken "mount of the job folder"
mount -t tmpfs tmpfs tmp
mkdir tmp/upper tmp/work
mount -t overlay -o lowerdir=packages:host,upperdir=tmp/upper,workdir=tmp/work overlay root ||
    broken "overlay"
mkdir -p root/job
mount --bind job root/job
for d in proc sys dev; do
    mount --rbind /$d root/$d
done
mount -t tmpfs tmpfs root/run

ip link set lo up
ip link set eth0 mtu "$MTU" up
ip addr add "$ME/24" dev eth0
# shellcheck disable=SC3045 # busybox has it
ulimit -l unlimited
in_root()
{
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C \
        ROLE="$ROLE" ME="$ME" PEER="$PEER" JOB=/job chroot root "$@"
}
in_root rdma link add rxe0 type rxe netdev eth0 || broken "rdma link add"
# The address gets its GID in the background: ::ffff:a.b.c.d.
# shellcheck disable=SC2046,SC2183 # four words are wanted
gid=$(printf 'ffff:%02x%02x:%02x%02x' $(echo "$ME" | tr . ' '))
n=0
until cat /sys/class/infiniband/rxe0/ports/1/gids/* 2>/dev/null | grep -q "$gid"; do
    n=$((n + 1))
    [ $n -lt 200 ] || broken "no GID for $ME"
    sleep 0.05
done

tell up "$(cut -d' ' -f1 /proc/uptime)"
n=1
while :; do
    until [ -e "job/$ROLE.$n.cmd" ]; do
        sleep 0.03
    done
    read -r seconds <"job/$ROLE.$n.seconds"
    in_root timeout -k 2 "$seconds" /bin/sh "/job/$ROLE.$n.cmd" \
        </dev/null >"job/$ROLE.$n.out" 2>"job/$ROLE.$n.err"
    tell "$n.rc" $?
    n=$((n + 1))
done
