//! `vserver cp -`: archives of tar's into guests and out of them, as safe as files.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use tests::same::{differences, furnish};
use tests::{DEADLINE, Finished, Host, Tree, command};

use crate::cp::{leftovers, place};

on! { Busybox: [
    what_is_streamed_out_and_in_again_is_the_same,
    owners_and_set_id_bits_stay_behind_if_not_asked_for,
    a_bad_archive_changes_nothing,
    what_is_wrong_is_said_and_leaves_nothing,
] }

/// `vserver cp WORDS…` in the host's directory, with these files as its streams.
#[track_caller]
fn cp(host: &Host, words: &[&str], input: Option<&Path>, output: Option<&Path>) -> Finished {
    let mut command = host.command(["cp"]);
    command.args(words).current_dir(place(host));
    let mut shell = Command::new("sh");
    let stream = |sign: &str, path: Option<&Path>| {
        path.map_or_else(String::new, |path| format!(" {sign}'{}'", path.display()))
    };
    let line = format!("exec \"$@\"{}{}", stream("<", input), stream(">", output));
    shell.arg("-c").arg(line).arg("sh").arg(command.get_program()).args(command.get_args());
    shell.current_dir(place(host)).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    command::run(&mut shell, DEADLINE)
}

#[track_caller]
fn tar(host: &Host, words: &[&str]) -> Finished {
    command::run(Command::new("tar").args(words).current_dir(place(host)), DEADLINE)
}

fn what_is_streamed_out_and_in_again_is_the_same(tree: Tree) {
    for mode in ["private", "host"] {
        let host = Host::new();
        let web = host.guest("web").tree(tree).set("security.users", mode).build();
        furnish(&web);
        let srv = web.root().join("srv");
        let mut setfattr = Command::new("setfattr");
        setfattr.args(["-h", "-x", "trusted.note", "closed", "dangling"]).current_dir(&srv);
        command::run(&mut setfattr, DEADLINE).ok();
        for is_running in [true, false] {
            if is_running {
                web.start();
            }
            let archive = place(&host).join(format!("{is_running}.tar"));
            cp(&host, &["-a", "web:/srv", "-"], None, Some(&archive)).ok();
            // tar(1) finds the same in it.
            let out = format!("out-{is_running}");
            fs::create_dir(place(&host).join(&out)).expect("it can be made");
            let words = ["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"];
            let archived = archive.display().to_string();
            tar(&host, &[&words[..], &[&archived, "-C", &out]].concat()).ok();
            let unpacked = place(&host).join(&out).join("srv");
            assert_eq!(differences(&srv, &unpacked), [""; 0], "{mode}");
            // And so does a guest, compressed or not.
            let back = format!("/var/back-{is_running}");
            web.shell(&format!("mkdir {back}")).ok();
            command::run(Command::new("zstd").args(["-q", &archived]), DEADLINE).ok();
            let packed = format!("{archived}.zst");
            cp(&host, &["-a", "-", &format!("web:{back}")], Some(packed.as_ref()), None).ok();
            let copy = web.root().join(&back[1..]).join("srv");
            assert_eq!(differences(&srv, &copy), [""; 0], "{mode} {back}");
            if is_running {
                web.stop();
            }
        }
        assert!(leftovers(host.prefix()).is_empty());
    }
}

fn owners_and_set_id_bits_stay_behind_if_not_asked_for(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    web.shell("echo x >/srv/s; chown 33:44 /srv/s; chmod 6755 /srv/s").ok();
    let archive = place(&host).join("s.tar");
    cp(&host, &["web:/srv/s", "-"], None, Some(&archive)).ok();
    let listed = tar(&host, &["--numeric-owner", "-tvf", "s.tar"]).ok();
    assert!(listed.stdout.starts_with("-rwxr-xr-x 0/0"), "{listed}");
    cp(&host, &["-a", "web:/srv/s", "-"], None, Some(&archive)).ok();
    let listed = tar(&host, &["--numeric-owner", "-tvf", "s.tar"]).ok();
    assert!(listed.stdout.starts_with("-rwsr-sr-x 33/44"), "{listed}");
    cp(&host, &["-", "web:/home"], Some(&archive), None).ok();
    web.shell("stat -c %u:%g:%a /home/s").ok().says("0:0:755\n");
    cp(&host, &["-a", "-", "web:/home"], Some(&archive), None).ok();
    web.shell("stat -c %u:%g:%a /home/s").ok().says("33:44:6755\n");
    web.stop();
}

fn a_bad_archive_changes_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    let here = place(&host);
    fs::write(here.join("one"), "1").expect("it can be written");
    fs::write(here.join("large"), vec![7; 1 << 20]).expect("it can be written");
    tar(&host, &["-cf", "whole.tar", "one", "large"]).ok();
    let file = File::options().write(true).open(here.join("whole.tar")).expect("it is there");
    file.set_len(1 << 19).expect("it is ours");
    tar(&host, &["-cPf", "above.tar", "one", "--transform", "s|one|../../one|"]).ok();
    fs::write(here.join("none"), "no archive").expect("it can be written");
    // A link in the archive leads to what the archive holds, never elsewhere.
    std::os::unix::fs::symlink("/etc", here.join("link")).expect("it can be made");
    tar(&host, &["-cf", "link.tar", "link"]).ok();
    tar(&host, &["-rf", "link.tar", "one", "--transform", "s|one|link/passwd|"]).ok();
    for archive in ["whole.tar", "above.tar", "none", "/dev/null"] {
        cp(&host, &["-", "web:/srv"], Some(&here.join(archive)), None)
            .code(1)
            .complains("cannot extract standard input");
        web.shell("ls -A /srv").ok().says("");
    }
    let before = fs::read("/etc/passwd").expect("it is there");
    cp(&host, &["-", "web:/srv"], Some(&here.join("link.tar")), None);
    assert_eq!(fs::read("/etc/passwd").expect("it is there"), before);
    web.shell("grep -q root /etc/passwd").ok();
    assert!(leftovers(host.prefix()).is_empty());
    web.stop();
}

fn what_is_wrong_is_said_and_leaves_nothing(tree: Tree) {
    let host = Host::new();
    host.guest("web").tree(tree).build();
    fs::write(place(&host).join("one"), "1").expect("it can be written");
    tar(&host, &["-cf", "one.tar", "one"]).ok();
    let archive = place(&host).join("one.tar");
    for (words, code, said) in [
        (["-", "-"], 2, "is in a guest"),
        (["one", "-"], 2, "is in a guest"),
        (["-", "nobody:/srv"], 5, "no guest 'nobody'"),
        (["-", "web:/srv/new"], 1, "'web:/srv/new'"),
    ] {
        cp(&host, &words, Some(&archive), None).code(code).complains(said);
    }
    cp(&host, &["-", "one", "web:/srv"], Some(&archive), None).code(2).complains("alone");
    assert!(leftovers(host.prefix()).is_empty());
}
