//! Guests of Debian's family by debootstrap and mmdebstrap, which are run as they are, on
//! packages that are made here, signed with a key of the test's and served by it. Which releases there
//! are, a debootstrap knows by its scripts: that of Debian 12 has no `daedalus`.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use tests::{DEADLINE, Finished, Host, Tree, command};

use crate::installers::{boots_as, nothing_is_left, packages};

on! { Busybox: [
    debootstrap_installs_what_is_signed,
    debootstrap_installs_ubuntus,
    debootstrap_installs_devuans,
    mmdebstrap_installs_what_is_signed,
    mmdebstrap_installs_ubuntus,
    mmdebstrap_installs_devuans,
    what_debootstrap_does_not_know_is_said,
] }

/// A release, with the fields that it has where it comes from.
struct Release {
    /// `ID` in os-release(5), and `Origin`.
    id: &'static str,
    /// `Codename`, by which it is asked for.
    suite: &'static str,
    /// `Suite`.
    archive: &'static str,
    /// The package that is its init.
    init: &'static str,
}

const DEBIAN: Release =
    Release { id: "debian", suite: "bookworm", archive: "oldstable", init: "sysvinit-core" };
/// It has no sysvinit.
const UBUNTU: Release =
    Release { id: "ubuntu", suite: "jammy", archive: "jammy", init: "systemd-sysv" };
const DEVUAN: Release =
    Release { id: "devuan", suite: "daedalus", archive: "oldstable", init: "sysvinit-core" };
const CERES: Release =
    Release { id: "devuan", suite: "ceres", archive: "unstable", init: "sysvinit-core" };

/// The tree as base-files, with a package manager of two lines, and nothing in all others
/// that the tools want. busybox's own `env` would take its own `dpkg`.
const DEB: &str = "
    pool=$1/deb/pool id=$3 at=$1/deb/dists/$4 suite=$4 archive=$5 init=$6
    mkdir -p $pool $at/main/binary-amd64 $1/work/base-files
    tar -C $1/work/base-files -xpf $2
    (
        cd $1/work/base-files
        printf '%s\\n' \"ID=$id\" \"VERSION_CODENAME=$suite\" >etc/os-release
        rm usr/bin/dpkg usr/bin/dpkg-deb usr/bin/env linuxrc
        printf '#!/bin/sh\\necho \"$*\" >>/var/log/dpkg\\n' >usr/bin/dpkg
        printf '#!/bin/sh\\necho 1\\n' | tee sbin/ldconfig >usr/bin/dpkg-deb
        printf '#!/bin/sh\\n[ $1 != --unset=TMPDIR ] || shift\\nexec /usr/bin/\"$@\"\\n' >usr/bin/env
        chmod 755 usr/bin/dpkg* usr/bin/env sbin/ldconfig
    )
    for name in base-files base-passwd dpkg libc6 perl-base mawk usr-is-merged apt cron iproute2 \\
        iputils-ping less login netbase procps $init small; do
        essential=no
        case $name in
        base-files|dpkg) priority=required essential=yes ;;
        apt|cron|i*|l[eo]*|netbase|procps|s*) priority=optional ;;
        *) priority=required ;;
        esac
        mkdir -p $1/work/$name/DEBIAN
        printf '%s\\n' \"Package: $name\" 'Version: 1' 'Architecture: amd64' \\
            \"Essential: $essential\" \"Priority: $priority\" 'Maintainer: nobody' 'Description: nothing' \\
            >$1/work/$name/DEBIAN/control
        dpkg-deb -Znone -b $1/work/$name $pool/${name}_1_amd64.deb >/dev/null
    done
    (cd $1/deb; dpkg-scanpackages -m pool >$at/main/binary-amd64/Packages 2>$1/said)
    cd $at
    file=main/binary-amd64/Packages
    set -- $1 $(sha256sum $file) $(stat -c %s $file)
    printf '%s\\n' \"Origin: $id\" \"Suite: $archive\" \"Codename: $suite\" 'Architectures: amd64' \\
        'SHA256:' \" $2 $4 $file\" 'Components: main' >Release
    gpg --batch --yes --clearsign -o InRelease Release
    gpg --export small >$1/key";

fn debootstrap_installs_what_is_signed(tree: Tree) {
    installs_what_is_signed(tree, "debootstrap", &DEBIAN);
}

fn debootstrap_installs_ubuntus(tree: Tree) {
    installs_what_is_signed(tree, "debootstrap", &UBUNTU);
}

fn debootstrap_installs_devuans(tree: Tree) {
    installs_what_is_signed(tree, "debootstrap", &CERES);
}

fn mmdebstrap_installs_what_is_signed(tree: Tree) {
    installs_what_is_signed(tree, "mmdebstrap", &DEBIAN);
}

fn mmdebstrap_installs_ubuntus(tree: Tree) {
    installs_what_is_signed(tree, "mmdebstrap", &UBUNTU);
}

fn mmdebstrap_installs_devuans(tree: Tree) {
    installs_what_is_signed(tree, "mmdebstrap", &DEVUAN);
}

/// Serves the files of a directory as a mirror does; gives its URL.
fn serve(directory: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let directory = directory.clone();
            thread::spawn(move || answer(stream, &directory));
        }
    });
    format!("http://{address}/debian")
}

fn answer(mut stream: TcpStream, directory: &Path) -> io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?).lines();
    let line = request.next().transpose()?.unwrap_or_default();
    while request.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = line.split(' ').nth(1).and_then(|path| path.strip_prefix("/debian/"));
    let found = path.and_then(|path| fs::read(directory.join(path)).ok());
    let status = if found.is_some() { "200 OK" } else { "404 Not Found" };
    let body = found.unwrap_or_default();
    write!(stream, "HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n", body.len())?;
    stream.write_all(&body)
}

/// Builds the guest, where the host has only this one of the two tools.
fn build(host: &Host, tool: &str, suite: &str, mirror: &str, more: &[&str]) -> Finished {
    let other = if tool == "mmdebstrap" { "debootstrap" } else { "mmdebstrap" };
    let hide = "mount --bind /dev/null \"$(command -v $1)\"; shift; exec \"$@\"";
    let words = ["build", "web", "--method", "debootstrap", "--suite", suite, "--mirror", mirror];
    let wanted = host.command(words.iter().chain(more));
    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "sh", "-ec", hide, "sh", other]).arg(wanted.get_program());
    hidden.args(wanted.get_args());
    hidden.envs(wanted.get_envs().filter_map(|(key, value)| Some((key, value?))));
    hidden.env("no_proxy", "127.0.0.1");
    command::run(&mut hidden, DEADLINE)
}

fn installs_what_is_signed(tree: Tree, tool: &str, release: &Release) {
    let Release { id, suite, archive, init } = release;
    let host = Host::new();
    let made = packages(&host, tree, DEB, &[id, suite, archive, init]);
    let mirror = serve(made.join("deb"));
    let build = |more: &[&str]| build(&host, tool, suite, &mirror, more);
    let wanted = format!("small,{init}");
    // Also where this host knows no keys that it could be signed with.
    build(&["--packages", &wanted]).code(1).complains(&format!("'{tool}' failed"));
    nothing_is_left(&host);
    let key = made.join("key").display().to_string();
    if *init != "sysvinit-core" {
        build(&["--keyring", &key]).code(1).complains("sysvinit-core");
        nothing_is_left(&host);
    }
    let built = build(&["--keyring", &key, "--packages", &wanted]).ok();
    assert!(built.stdout.contains(&format!("from {suite}, installed by {tool}")), "{built}");
    // All stages of the tool are done.
    let root = host.paths().roots_dir().join("web");
    let log = fs::read_to_string(root.join("var/log/dpkg")).expect("its package manager was asked");
    let last = log.lines().last().unwrap_or_default();
    assert!(log.contains("/small_1_amd64.deb") && last.contains("--configure "), "{log}");
    // It gets more from where it comes from.
    let sources = fs::read_to_string(root.join("etc/apt/sources.list")).expect("it was written");
    assert_eq!(sources.trim_end(), format!("deb {mirror} {suite} main"));
    boots_as(&host, &format!("ID={id}\nVERSION_CODENAME={suite}\n"));
}

fn what_debootstrap_does_not_know_is_said(_: Tree) {
    let host = Host::new();
    build(&host, "debootstrap", "nosuch", "file:///nowhere", &[])
        .code(1)
        .complains("'debootstrap' doesn't know the release 'nosuch'")
        .complains("apt install mmdebstrap");
    nothing_is_left(&host);
}
