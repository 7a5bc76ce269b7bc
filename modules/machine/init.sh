#!/bin/sh
# Configures the machine: boot loader images, a small initramfs, units, network, SSH. Everything that must be each machine's own
# (machine-id, SSH host keys, the root's size) is left to the first boot.
set -eu

here=$KILN_MODULE_DIR/files
lib=/usr/lib/kiln/machine
install -d "$lib"

# --- the kernel's initramfs: ours, also after an upgrade of the kernel ---
install -m 755 "$here/make-initrd" "$here/grow-root" "$here/mount-disks" "$lib/"
install -m 644 "$here/initrd-init" "$lib/"
install -D -m 755 "$here/kernel-hook" /etc/kernel/postinst.d/zz-kiln-initrd
# Ubuntu's kernels come without the usual one.
[ ! -d /etc/initramfs-tools ] || echo 'update_initramfs=no' > /etc/initramfs-tools/update-initramfs.conf
kernel=
for image in /boot/vmlinuz-*; do [ -e "$image" ] && kernel=${image#/boot/vmlinuz-}; done
if [ -z "$kernel" ]; then
    echo "machine: package '$KILN_PARAM_KERNEL' brought no kernel to /boot" >&2
    exit 1
fi
"$lib/make-initrd" "$kernel"
ln -sfn "boot/vmlinuz-$kernel" /vmlinuz
rm -f /vmlinuz.old

# --- GRUB's images: no menu, no module and no configuration to read; they start the kernel that /vmlinuz names ---
# arm64: the serial port is ttyS0 on EC2, ttyAMA0 in QEMU, and no machine has both. Without a screen: of several consoles
# that are there /dev/console is the first, unless the last one named is there.
console=$KILN_PARAM_CONSOLE
if [ "$console" = auto ]; then
    case $KILN_ARCH in
        arm64) console='ttyAMA0,115200n8 ttyS0,115200n8' ;;
        *) console='tty0 ttyS0,115200n8' ;;
    esac
fi
consoles=
for name in $console; do consoles="$consoles console=$name"; done
cat > /tmp/early.cfg <<END
probe --set=uuid --fs-uuid \$root
linux /vmlinuz root=UUID=\$uuid rw rootflags=noatime$consoles $KILN_PARAM_COMMAND_LINE
initrd /kiln-initrd.img
boot
END
# grub_image FORMAT FILE ROOT [MODULE]. The prefix begins with a comma: a partition of whatever disk the firmware took GRUB from; which one
# is the root, src/image/disk.h says.
grub_image() { grub-mkimage -O "$1" -o "$lib/$2" -p "(,gpt$3)/" -c /tmp/early.cfg ${4:+"$4"} part_gpt ext2 probe linux boot; }
if [ "$KILN_ARCH" = arm64 ]; then
    grub_image arm64-efi BOOTAA64.EFI 2
else
    cp /usr/lib/grub/i386-pc/boot.img "$lib/boot.img"
    grub_image i386-pc core.img 3 biosdisk
    grub_image x86_64-efi BOOTX64.EFI 3
fi

# --- systemd ---
systemctl() { command systemctl --root=/ --quiet "$@"; }
cd "$here"
for file in etc/*; do find "$file" -type f; done | while read -r file; do install -D -m 644 "$file" "/$file"; done
systemctl set-default multi-user.target
systemctl enable systemd-networkd.service systemd-resolved.service ssh.service chrony.service \
    kiln-ssh-key.service kiln-grow-root.service kiln-disks.service kiln-node.service
# Nothing here waits for "online", is updated in place, or asks questions at a console; and file systems, drivers and helpers of a
# desktop or of debugging are mounted and loaded when somebody wants them. docs/images.md says what each would have been for.
for unit in systemd-networkd-wait-online.service systemd-firstboot.service sshd-keygen.service grub-common.service \
            apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
            getty@tty1.service chrony-wait.service tmp.mount systemd-remount-fs.service systemd-binfmt.service \
            modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service modprobe@configfs.service modprobe@dm_mod.service \
            modprobe@loop.service systemd-pstore.service sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
            sys-fs-fuse-connections.mount dev-hugepages.mount systemd-hibernate-clear.service systemd-ask-password-console.path \
            systemd-ask-password-wall.path systemd-tpm2-setup.service systemd-tpm2-setup-early.service systemd-pcrphase.service \
            systemd-update-utmp.service systemd-update-utmp-runlevel.service; do
    systemctl mask "$unit"
done
# What units do after an update of /usr (the linker's cache, hardware and message catalogues) the bake has done.
touch /etc/.updated /var/.updated
ln -sfn ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf

# No password opens any account; root comes in by key (sshd_config.d/kiln.conf).
sed -i 's/^\([^:]*\):[^*!:][^:]*:/\1:*:/; s/^\([^:]*\)::/\1:*:/' /etc/shadow
