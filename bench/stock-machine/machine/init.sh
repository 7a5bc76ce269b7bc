#!/bin/sh
# Debian's defaults: initramfs with MODULES=most, a menu for five seconds, cloud-init in its four stages. The seed keeps cloud-init from
# searching for a cloud, which would take it longer still.
set -eu
lib=/usr/lib/kiln/machine
install -d "$lib"
kernel=
for image in /boot/vmlinuz-*; do [ -e "$image" ] && kernel=${image#/boot/vmlinuz-}; done
update-initramfs -c -k "$kernel"
mkdir -p /boot/grub
cat > /boot/grub/grub.cfg <<END
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=5
menuentry 'Debian GNU/Linux' {
    search --no-floppy --label --set=root kiln-root
    linux /boot/vmlinuz-$kernel root=LABEL=kiln-root ro console=tty0 console=ttyS0,115200 earlyprintk=ttyS0,115200
    initrd /boot/initrd.img-$kernel
}
END
modules='part_gpt ext2 normal linux search search_label configfile serial terminal echo'
cp /usr/lib/grub/i386-pc/boot.img "$lib/boot.img"
# shellcheck disable=SC2086  # names, one a word
grub-mkimage -O i386-pc -o "$lib/core.img" -p '(,gpt3)/boot/grub' biosdisk $modules
# shellcheck disable=SC2086
grub-mkimage -O x86_64-efi -o "$lib/BOOTX64.EFI" -p '(,gpt3)/boot/grub' $modules
echo 'LABEL=kiln-root / ext4 defaults,x-systemd.growfs 0 1' > /etc/fstab
mkdir -p /var/lib/cloud/seed/nocloud
echo 'instance-id: i-0123456789abcdef0' > /var/lib/cloud/seed/nocloud/meta-data
printf '#cloud-config\n{}\n' > /var/lib/cloud/seed/nocloud/user-data
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' > /etc/systemd/network/80-dhcp.network
cat > /etc/systemd/system/kiln-node.service <<'END'
[Unit]
Wants=network-online.target
After=network-online.target cloud-final.service
[Service]
ExecStart=/usr/lib/kiln/kiln-node run --metadata
StandardOutput=journal+console
StandardError=journal+console
[Install]
WantedBy=cloud-init.target
END
systemctl --root=/ set-default multi-user.target
systemctl --root=/ enable systemd-networkd.service kiln-node.service
ln -sfn ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
