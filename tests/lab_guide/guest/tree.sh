#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a machine's disk of the Debian tree at $1. Run by mmdebstrap; from the environment: GUEST,
# MAKING, OFFERED, DISK_MIB.
set -eu
root=$1

in_tree()
{
    chroot "$root" "$@"
}

# Packages that setup is to install come from the disk itself: these machines have no network.
offer_packages()
{
    mkdir -p "$root/srv/packages/partial"
    # shellcheck disable=SC2086 # a list of names
    in_tree apt-get -qq -y --download-only -o Dir::Cache::archives=/srv/packages install $OFFERED
    rm -rf "$root/srv/packages/partial" "$root/srv/packages/lock"
    python3 "$GUEST/index.py" "$root/srv/packages"
    rm -f "$root"/etc/apt/sources.list.d/*
    echo 'deb [trusted=yes] file:/srv/packages ./' >"$root/etc/apt/sources.list"
}

make_users()
{
    in_tree useradd -m -s /bin/bash -G sudo ann
    echo 'ann:guide' | in_tree chpasswd
    for home in home/ann root; do
        install -d -m 700 "$root/$home/.ssh"
        install -m 600 "$MAKING/key.pub" "$root/$home/.ssh/authorized_keys"
    done
    in_tree chown -R ann:ann /home/ann/.ssh
}

calm_down()
{
    for unit in apt-daily.timer apt-daily-upgrade.timer man-db.timer fstrim.timer e2scrub_all.timer \
        e2scrub_reap.service dpkg-db-backup.timer NetworkManager-wait-online.service apparmor.service \
        console-setup.service keyboard-setup.service getty@tty1.service \
        systemd-timesyncd.service ModemManager.service wpa_supplicant.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    : >"$root/etc/machine-id"
    rm -f "$root"/etc/ssh/ssh_host_*
}

make_bootable()
{
    cp -r "$GUEST/etc" "$GUEST/usr" "$root/"
    chmod 755 "$root"/usr/local/sbin/*
    chmod 600 "$root"/etc/NetworkManager/system-connections/*
    echo 'LABEL=rootfs / ext4 errors=remount-ro 0 0' >"$root/etc/fstab"
    printf '%s\n' virtio_pci virtio_blk ext4 crc32c_generic >>"$root/etc/initramfs-tools/modules"
    in_tree systemctl -q enable lab-identity.service lab-rxe.service NetworkManager ssh firewalld
    in_tree update-initramfs -u
    cp "$root"/boot/vmlinuz-* "$MAKING/vmlinuz"
    cp "$root"/boot/initrd.img-* "$MAKING/initrd"
}

write_disk()
{
    rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    : >"$root/etc/resolv.conf"
    truncate -s "${DISK_MIB}M" "$MAKING/disk.raw"
    mkdir "$MAKING/tree"
    export root
    # shellcheck disable=SC2016 # the inner shell's variables. The tree alone: not /proc, /sys on it.
    unshare -m sh -euc 'mount --bind "$root" "$MAKING/tree"
        mkfs.ext4 -q -F -L rootfs -O ^has_journal -E offset=1048576 -d "$MAKING/tree" \
            "$MAKING/disk.raw" "$((DISK_MIB - 1))M"'
    rmdir "$MAKING/tree"
}

offer_packages
make_users
calm_down
make_bootable
write_disk
