//! A guest whose files lie in the same blocks as others', or over a base, upgrades
//! its packages as any machine does, and nobody else's change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{DEADLINE, Disk, Guest, Host, Tree, command};

use super::storage::snapshot;
use super::unify::{bytes, is_shared};

on! { Bookworm: [packages_are_upgraded_in_shared_blocks_and_over_a_base] }

/// What the package holds, in which version.
fn content(version: u8) -> Vec<u8> {
    bytes(version, 1 << 20)
}

/// A package with a file, a link to it, a setting and a script.
pub(super) fn package(host: &Host, version: u8) -> PathBuf {
    let tree = host.prefix().join(format!("tiny-{version}"));
    for directory in ["DEBIAN", "usr/lib/tiny", "etc"] {
        fs::create_dir_all(tree.join(directory)).expect("it can be made");
    }
    let write = |path: &str, bytes: &[u8]| {
        fs::write(tree.join(path), bytes).expect("it can be written");
    };
    write("usr/lib/tiny/data", &content(version));
    fs::hard_link(tree.join("usr/lib/tiny/data"), tree.join("usr/lib/tiny/also")).expect("a link");
    write("etc/tiny.conf", format!("version {version}\n").as_bytes());
    let control = format!(
        "Package: tiny\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\n\
         Description: nothing\n"
    );
    write("DEBIAN/control", control.as_bytes());
    write("DEBIAN/conffiles", b"/etc/tiny.conf\n");
    let file = host.prefix().join(format!("tiny_{version}.deb"));
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.args(["--root-owner-group", "-b"]).arg(&tree).arg(&file);
    command::run(&mut dpkg, DEADLINE).ok();
    file
}

pub(super) fn install(guest: &Guest<'_>, package: &Path) {
    let package = package.display().to_string();
    let inside = format!("{}:/tmp/tiny.deb", guest.name());
    guest.host().vserver(["cp", &package, &inside]).ok();
    guest.shell("dpkg --install /tmp/tiny.deb && rm /tmp/tiny.deb").ok();
}

/// This version is there, as dpkg knows it.
#[track_caller]
pub(super) fn has(guest: &Guest<'_>, root: &Path, version: u8) {
    let seen = guest.shell("dpkg-query -f '${Version} ${Status}' -W tiny; dpkg --verify tiny").ok();
    assert_eq!(seen.stdout, format!("{version} install ok installed"), "{seen}");
    guest.shell("test -z \"$(dpkg --audit)\"").ok();
    guest.shell(&format!("grep -qx 'version {version}' /etc/tiny.conf")).ok();
    for name in ["data", "also"] {
        let found = fs::read(root.join("usr/lib/tiny").join(name)).expect("it is there");
        assert!(found == content(version), "{name} of '{}' isn't {version}'s", guest.name());
    }
}

fn packages_are_upgraded_in_shared_blocks_and_over_a_base(tree: Tree) {
    let host = Host::new();
    let disk = Disk::xfs(&host, 1024);
    let [first, second] = [1, 2].map(|version| package(&host, version));
    let web = host.guest("web").tree(tree).build();
    host.vserver(["clone", "web", "shop"]).ok();
    let shop = web.other("shop");
    for guest in [&web, &shop] {
        install(guest, &first);
    }
    let data = |guest: &Guest<'_>| guest.root().join("usr/lib/tiny/data");
    assert!(!is_shared(&data(&web)));
    host.vserver(["unify", "--all"]).ok();
    assert!(is_shared(&data(&web)) && is_shared(&data(&shop)));
    host.vserver(["snapshot", "create", "shop", "v1"]).ok();
    let over = ["over", "beside"].map(|name| {
        host.vserver(["clone", "shop", name, "--snapshot", "v1", "--storage", "overlay"]).ok();
        web.other(name)
    });
    for guest in [&web, &shop].into_iter().chain(&over) {
        guest.start();
    }
    let base = snapshot(&host, "shop", "v1");
    let upper = over[0].root().join("upper");
    install(&web, &second);
    install(&over[0], &second);
    // From then on in blocks of its own.
    assert!(!is_shared(&data(&web)));
    has(&web, &web.root(), 2);
    has(&over[0], &upper, 2);
    has(&shop, &shop.root(), 1);
    has(&over[1], &base, 1);
    // What is left of the old one can be taken back, and removed.
    install(&web, &first);
    has(&web, &web.root(), 1);
    over[0].shell("dpkg --purge tiny && test ! -e /usr/lib/tiny && test ! -e /etc/tiny.conf").ok();
    has(&over[1], &base, 1);
    for guest in [&web, &shop].into_iter().chain(&over) {
        guest.stop();
    }
    drop(disk);
}
