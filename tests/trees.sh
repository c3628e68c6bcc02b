# shellcheck shell=bash
# Recipes of the root file systems that the tests boot; those of the virtual
# machines are in vm/image.sh. Sourced by tests/setup. A recipe is a function
# tree_NAME that writes its argument with ".tar" appended; files in the archive
# have the ids that they have inside.

# shellcheck disable=SC2034  # read by tests/setup
trees=(bookworm trixie systemd systemd_trixie services busybox vm vm_trixie)

# Trees that are made of the bookworm one, which is built before them.
# shellcheck disable=SC2034
derived=(runit openrc finit s6)

# What every Debian tree has beyond the minimum and its init: the two daemons
# whose life the tests check, and the tools by which they look. `ping` is a
# program with a file capability.
debian_packages=procps,cron,openssh-server,iproute2,iputils-ping,bsdutils,util-linux,bubblewrap

# What tests install inside, where there is no network: a program that is
# setgid and a daemon; a daemon with a user of its own.
debian_archives=(at uuid-runtime)

tree_file() {
    local recipe parts settings
    case " ${derived[*]} " in
    *" $1 "*)
        # It changes with what it is made of.
        recipe=$(declare -f "tree_$1" derived_tree chroot_install; tree_file bookworm)
        tree_name "$1" "$recipe"
        return
        ;;
    esac
    # What belongs to one tree only, or to a kind, begins with that name.
    mapfile -t parts < <(compgen -A function "${1%%_*}_")
    mapfile -t settings < <(compgen -A variable "${1%%_*}_")
    recipe=$(declare -f "tree_$1" debian_tree debian_mirror "${parts[@]}"
        declare -p debian_packages debian_archives "${settings[@]}")
    tree_name "$1" "$recipe"
}

tree_name() {
    printf '%s-%s.tar\n' "$1" "$(printf '%s' "$2" | sha256sum | cut -c1-12)"
}

tree_bookworm() { debian_tree bookworm "$1" sysvinit-core; }

# Without the standalone tools, sshd and udev would bring in systemd.
tree_trixie() {
    debian_tree trixie "$1" sysvinit-core,systemd-standalone-sysusers,systemd-standalone-tmpfiles
}

tree_systemd() { debian_tree bookworm "$1" systemd,systemd-sysv,dbus,libpam-systemd; }

tree_systemd_trixie() { debian_tree trixie "$1" systemd,systemd-sysv,dbus,libpam-systemd; }

# What customers run, as Debian ships it, and the tools that ask it.
services_packages=usr-is-merged,nginx-light,postfix,postgresql,bind9,bind9-dnsutils,curl,net-tools,iperf3

# ssl-cert can't be configured on a machine whose name has no domain.
# shellcheck disable=SC2016  # the hooks' own "$1"
tree_services() {
    debian_tree bookworm "$1" "sysvinit-core,$services_packages" \
        --essential-hook='printf "%s\n" "127.0.0.1 localhost" \
            "::1 localhost ip6-localhost ip6-loopback" \
            "127.0.1.1 builder.invalid builder" >"$1/etc/hosts"' \
        --customize-hook='sed -i /builder/d "$1/etc/hosts"'
}

# Documentation and translations are half of a small Debian and nothing that
# is tested here. A tree has nothing of this machine's name.
debian_tree() {
    local suite=$1 stem=$2 init=$3 mirror
    mirror=$(debian_mirror)
    shift 3
    # shellcheck disable=SC2016  # the hooks' and the shell's own "$1" and "$@"
    unshare --uts sh -c 'hostname builder && exec mmdebstrap "$@"' mmdebstrap \
        --variant=minbase --include="$debian_packages,$init" \
        --aptopt='Acquire::Retries "5"' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook="mkdir \"\$1/srv/packages\" && cd \"\$1/srv/packages\" &&
            APT_CONFIG=\$MMDEBSTRAP_APT_CONFIG apt-get download -q ${debian_archives[*]}" \
        --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' \
        "$@" "$suite" "$stem.tar" ${mirror:+"$mirror"}
}

tree_runit() { derived_tree "$1" runit-init; }

# With the busybox that is Alpine's init.
tree_openrc() { derived_tree "$1" openrc busybox-static; }

tree_finit() { derived_tree "$1" finit-sysv; }

# Without s6-linux-init, which Debian has not got.
tree_s6() { derived_tree "$1" s6 execline; }

# The bookworm tree with these packages more; those that they conflict with go.
# Takes a tenth of the time of a tree of its own.
derived_tree() {
    local stem=$1
    shift
    mkdir "$stem"
    # shellcheck disable=SC2154  # of tests/setup
    tar --numeric-owner --xattrs --xattrs-include='*' -C "$stem" -xpf "$cache/$(tree_file bookworm)"
    unshare --mount --uts --ipc --pid --fork --kill-child \
        bash -euc "$(declare -f chroot_install); chroot_install \"\$@\"" bash "$stem" "$@"
    tar --numeric-owner --xattrs --xattrs-include='*' -C "$stem" -cf "$stem.tar" .
}

# In namespaces of its own. No daemon is started, and nothing of this machine
# stays.
chroot_install() {
    local root=$1 skip
    shift
    hostname builder
    mount --bind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C
    skip=(-o 'DPkg::Options::=--path-exclude=/usr/share/doc/*'
        -o 'DPkg::Options::=--path-exclude=/usr/share/man/*')
    chroot "$root" apt-get -q -o Acquire::Retries=5 update
    chroot "$root" apt-get -q -y -o Acquire::Retries=5 --allow-remove-essential \
        --no-install-recommends "${skip[@]}" install "$@"
    rm "$root/usr/sbin/policy-rc.d" "$root/etc/resolv.conf"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
}

# The mirror that this machine itself uses; empty for mmdebstrap's default.
debian_mirror() {
    # shellcheck disable=SC2016  # $(…) are apt-get's own fields
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian Debian //p' | sort -u | head -n 1
}

# A whole guest in two megabytes: busybox's init, a boot script, a shutdown
# script, and one service that is respawned.
tree_busybox() {
    local stem=$1 applet
    mkdir -p "$stem"/{bin,sbin,usr/bin,usr/sbin,etc/init.d,dev,proc,sys,run,tmp,root,home/user,var/log,srv}
    cp "$(command -v busybox)" "$stem/bin/busybox"
    "$stem/bin/busybox" --list-full | while read -r applet; do
        [ -e "$stem/$applet" ] || ln -s /bin/busybox "$stem/$applet"
    done
    ln -s ../run "$stem/var/run"
    ln -s ../proc/self/mounts "$stem/etc/mtab"
    chmod 1777 "$stem/tmp"
    chmod 0700 "$stem/root"
    cat >"$stem/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home/user:/bin/sh
END
    cat >"$stem/etc/group" <<'END'
root:x:0:
user:x:1000:
extra:x:2000:user
END
    printf 'root:*:19000:0:99999:7:::\nuser:*:19000:0:99999:7:::\n' >"$stem/etc/shadow"
    chmod 0600 "$stem/etc/shadow"
    chown -R 1000:1000 "$stem/home/user"
    printf 'ID=busybox\nNAME="busybox"\n' >"$stem/etc/os-release"
    cat >"$stem/etc/inittab" <<'END'
::sysinit:/etc/init.d/rcS
::once:/etc/init.d/once
::respawn:/bin/busybox sleep 100000
::ctrlaltdel:/sbin/reboot
::shutdown:/etc/init.d/rcK
END
    cat >"$stem/etc/init.d/rcS" <<'END'
#!/bin/sh
echo "rcS: boot scripts run"
date +%s >>/var/log/boots
END
    cat >"$stem/etc/init.d/once" <<'END'
#!/bin/sh
echo "once: ran"
touch /run/booted
END
    cat >"$stem/etc/init.d/rcK" <<'END'
#!/bin/sh
echo "rcK: shutdown scripts run"
date +%s >>/var/log/shutdowns
END
    chmod 0755 "$stem"/etc/init.d/*
    tar --numeric-owner -C "$stem" -cf "$stem.tar" .
}
