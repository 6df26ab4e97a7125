#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In the tree at $1 before the packages are configured: what their scripts must find.
set -eu
root=$1
mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/kernel"
echo MODULES=list >"$root/etc/initramfs-tools/conf.d/lab"
chroot "$root" debconf-set-selections <<TEXT
grub-pc grub-pc/install_devices_empty boolean true
grub-pc grub-pc/install_devices multiselect
TEXT
