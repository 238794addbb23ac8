# What a Debian root disk gets beyond its packages. mmdebstrap runs this with
# the new root as $1; PLINTH_AUTHORIZED_KEY may log in as root over ssh.
set -eu
root=$1

echo plinth >"$root/etc/hostname"
echo '127.0.0.1 localhost plinth' >"$root/etc/hosts"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
# Empty, not absent: a new identity at each disk's first boot.
: >"$root/etc/machine-id"
# The disk may be a larger copy of the image, and the file system then grows.
echo 'LABEL=root / ext4 defaults,x-systemd.growfs 0 0' >"$root/etc/fstab"

# The console asks for a password; ssh takes the key alone, as is its default.
echo 'root:plinth' | chroot "$root" chpasswd
install -d -m 700 "$root/root/.ssh"
echo "$PLINTH_AUTHORIZED_KEY" >"$root/root/.ssh/authorized_keys"
chmod 600 "$root/root/.ssh/authorized_keys"

# Disks must not share host keys: the first boot makes one.
rm -f "$root"/etc/ssh/ssh_host_*
echo 'HostKey /etc/ssh/ssh_host_ed25519_key' >"$root/etc/ssh/sshd_config.d/host-key.conf"
install -d "$root/etc/systemd/system/ssh.service.d"
cat >"$root/etc/systemd/system/ssh.service.d/host-key.conf" <<'END'
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'test -s /etc/ssh/ssh_host_ed25519_key || ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
END

# Interfaces keep the kernel's names, eth0 and up, and ask DHCP, unless the
# kernel command line has ip=ADDRESS::GATEWAY:MASK::eth0:none.
ln -s /dev/null "$root/etc/systemd/network/99-default.link"
cat >"$root/etc/systemd/network/95-dhcp.network" <<'END'
[Match]
Name=eth*
[Network]
DHCP=yes
END
chroot "$root" systemctl -q enable systemd-networkd systemd-network-generator
# Nothing waits for the network to be complete.
chroot "$root" systemctl -q disable systemd-networkd-wait-online

# It takes a while, and most who boot this disk have nothing to tell it.
touch "$root/etc/cloud/cloud-init.disabled"

# Housekeeping that would only disturb a short life.
chroot "$root" systemctl -q mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer
rm -rf "$root/var/log/journal"
