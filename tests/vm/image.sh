# shellcheck shell=bash
# Recipes of the virtual machines that tests/vm boots: Debian with systemd as
# PID 1, its stock cloud kernel, AppArmor. Sourced by tests/setup.
#
# A result is one archive like those of tests/trees.sh, of three files:
# disk.img (the root file system, ext4, since before Linux 6.3 a guest's root
# can't be id-mapped on a tmpfs), vmlinuz, and an initrd that only finds and
# mounts the disk.

# systemd-container is machined and machinectl, with libnss-mymachines guests
# are hosts by name; apparmor brings the parser and aa-status; procps and
# iproute2 are what the tests look with, udev and dbus what every host has; with
# openssh-client's ssh-keygen, 'build' gives guests host keys; the last four make
# disks, and files with everything that files can have. xfs's programs come
# without what their package wants for others: Python, and 36 MB of Unicode.
vm_packages=systemd,systemd-sysv,systemd-container,libnss-mymachines,dbus,udev,kmod,apparmor,openssh-client,procps,iproute2,util-linux,bsdutils,e2fsprogs,attr,acl,libcap2-bin

# Bytes of the disk. Sparse: only what is used is in the archive.
vm_disk=4G

# Linux 6.1, systemd 252.
tree_vm() { vm_image bookworm "$1"; }

# Linux 6.12, systemd 257.
tree_vm_trixie() { vm_image trixie "$1"; }

vm_image() {
    local suite=$1 stem=$2 mirror modules version
    mirror=$(debian_mirror)
    mkdir -p "$stem"
    # The kernel is unpacked, not installed: its scripts would build a large
    # initrd. Of its name only the meta package knows the version.
    # shellcheck disable=SC2016  # the hook's own "$1"
    mmdebstrap --variant=minbase --include="$vm_packages" \
        --aptopt='Acquire::Retries "5"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='set -e
            export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
            name=$(apt-cache depends linux-image-cloud-amd64 | sed -n "s/^ *Depends: //p")
            mkdir "$1/kernel" && cd "$1/kernel" && apt-get -q download "$name"
            dpkg -x "$name"_*.deb . && rm "$name"_*.deb
            for name in $(apt-cache depends xfsprogs | sed -n "s/^ *Depends: \(libinih\|liburcu\)/\1/p") xfsprogs; do
                apt-get -q download "$name"
                dpkg-deb --fsys-tarfile "$name"_*.deb | tar -C "$1" --keep-directory-symlink -x
                rm "$name"_*.deb
            done' \
        --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' \
        "$suite" "$stem/root" ${mirror:+"$mirror"}

    # The kernel's package of trixie has merged directories.
    modules=$(find "$stem/root/kernel" -path '*lib/modules/*' -prune)
    version=${modules##*/}
    mv "$stem/root/kernel/boot/vmlinuz-$version" "$stem/vmlinuz"
    mkdir -p "$stem/root/usr/lib/modules"
    mv "$modules" "$stem/root/usr/lib/modules/"
    rm -rf "$stem/root/kernel"
    depmod -b "$stem/root" "$version"
    vm_units "$stem/root"
    vm_initrd "$stem" "$version"

    # Whole directories are copied in, so no mount is needed, and none is
    # left behind by a recipe that fails.
    mkfs.ext4 -q -L root -d "$stem/root" "$stem/disk.img" "$vm_disk"
    tar -C "$stem" --sparse -cf "$stem.tar" disk.img vmlinuz initrd
}

# What is to be run comes on a second disk; when it has ended, in whatever
# way, the machine goes off.
vm_units() {
    local root=$1
    printf 'testhost\n' >"$root/etc/hostname"
    printf '127.0.0.1 localhost testhost\n' >"$root/etc/hosts"
    printf 'LABEL=payload /payload ext4 ro 0 0\n' >"$root/etc/fstab"
    mkdir -p "$root/payload"
    cat >"$root/etc/systemd/system/tests.target" <<'END'
[Unit]
Description=The tests have been run
Requires=multi-user.target tests.service
END
    cat >"$root/etc/systemd/system/tests.service" <<'END'
[Unit]
Description=Run the tests
After=multi-user.target
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
ExecStart=/payload/run
StandardOutput=file:/dev/ttyS1
StandardError=journal+console
TasksMax=infinity
END
    # Nobody logs in, and nothing may start by itself while tests run.
    ln -sf /dev/null "$root/etc/systemd/system/getty.target"
    ln -sf /dev/null "$root/etc/systemd/system/timers.target"
}

# busybox, and the modules on the way to an ext4 file system on a virtio disk.
vm_initrd() {
    local stem=$1 version=$2 initrd=$1/initrd.d module
    mkdir -p "$initrd"/{bin,dev,proc,sys,root,modules}
    cp "$(command -v busybox)" "$initrd/bin/busybox"
    for module in virtio_pci virtio_blk crc32c_generic ext4; do
        modprobe -d "$stem/root" -S "$version" --show-depends "$module"
    done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' >"$stem/modules"
    while read -r module; do
        cp "$module" "$initrd/modules/"
        printf '%s\n' "${module##*/}" >>"$initrd/modules/order"
    done <"$stem/modules"
    cat >"$initrd/init" <<'END'
#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox mount -t proc proc /proc
for module in $(busybox cat /modules/order); do
    busybox insmod "/modules/$module"
done
busybox mount -t ext4 /dev/vda /root
busybox mount --move /dev /root/dev
busybox mount --move /proc /root/proc
exec busybox switch_root /root /sbin/init
END
    chmod 0755 "$initrd/init"
    (cd "$initrd" && find . | "$initrd/bin/busybox" cpio -o -H newc) >"$stem/initrd"
}
