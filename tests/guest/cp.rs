//! `vserver cp`: what comes over is what was there, to a guest that runs and to
//! one that doesn't, and what fails leaves nothing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::same::{differences, furnish};
use tests::{DEADLINE, Guest, Host, Tree, command, eventually, until_cut};

on! { Busybox: [
    all_comes_over_and_back_if_that_is_asked_for,
    owners_and_set_id_bits_stay_behind_if_not,
    what_a_guest_sees_is_what_is_meant,
    files_lie_where_they_may,
    what_an_overlay_can_not_hold_is_named,
    names_of_any_bytes_come_over,
    destinations_are_those_of_cp,
    mistakes_change_nothing,
    an_interrupted_copy_leaves_nothing,
    one_that_waits_for_another_command_says_so,
    a_full_file_system_leaves_nothing,
    a_file_with_a_lease_is_waited_for,
] }

const MODES: [&str; 3] = ["private", "identity", "host"];

/// A directory of the host's for what is copied.
pub(crate) fn place(host: &Host) -> PathBuf {
    let place = host.prefix().join("place");
    fs::create_dir_all(&place).expect("it can be made");
    place
}

/// `vserver cp WORDS…` in the host's directory.
#[track_caller]
pub(crate) fn cp<W: AsRef<OsStr>>(
    host: &Host,
    words: impl IntoIterator<Item = W>,
) -> command::Finished {
    let mut command = host.command(["cp"]);
    command.args(words).current_dir(place(host));
    command::run(&mut command, DEADLINE)
}

fn tool(program: &str, words: &[&str], directory: &Path) {
    let mut command = Command::new(program);
    command::run(command.args(words).current_dir(directory), DEADLINE).ok();
}

/// What copies have forgotten to take away, anywhere below.
pub(crate) fn leftovers(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().as_bytes().starts_with(b".vserver-cp-");
        if is_ours {
            found.push(entry.path());
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(leftovers(&entry.path()));
        }
    }
    found
}

fn all_comes_over_and_back_if_that_is_asked_for(tree: Tree) {
    for mode in MODES {
        let host = Host::new();
        let web = host.guest("web").tree(tree).set("security.users", mode).build();
        furnish(&web);
        // It is the host's, not the guest's.
        let theirs = ["-h", "-x", "trusted.note", "closed", "dangling"];
        tool("setfattr", &theirs, &web.root().join("srv"));
        web.shell("mkdir -p /srv/theirs/deep; chown -R 33:44 /srv/theirs; ln /srv/one /srv/theirs")
            .ok();
        // As an overlay in it has it.
        web.shell("mknod /srv/gone c 0 0; ln /srv/gone /srv/theirs").ok();
        let srv = web.root().join("srv");
        for is_running in [true, false] {
            if is_running {
                web.start();
            }
            let (out, back) = (format!("out-{is_running}"), format!("back-{is_running}"));
            cp(&host, ["-a", "web:/srv", &out]).ok().says("");
            assert_eq!(differences(&srv, &place(&host).join(&out)), [""; 0], "{mode} {out}");
            cp(&host, ["-a", &out, &format!("web:/var/{back}")]).ok().says("");
            let copy = web.root().join("var").join(&back);
            assert_eq!(differences(&srv, &copy), [""; 0], "{mode} {back}");
            for sparse in [place(&host).join(out).join("sparse"), copy.join("sparse")] {
                let sparse = fs::metadata(sparse).expect("it is there");
                assert!(sparse.len() > 1 << 26 && sparse.blocks() < 100, "{sparse:?}");
            }
            let sent = web.shell(&format!("stat -c %u:%g:%h /var/{back}/theirs /var/{back}/one"));
            sent.ok().says("33:44:3\n0:0:3\n");
            if is_running {
                web.stop();
            }
        }
        assert_eq!(leftovers(host.prefix()), [""; 0].map(PathBuf::from));
    }
}

fn owners_and_set_id_bits_stay_behind_if_not(tree: Tree) {
    for mode in MODES {
        let host = Host::new();
        let web = host.guest("web").tree(tree).set("security.users", mode).build();
        web.start();
        let make = "set -e; mkdir -p /srv/d; echo x >/srv/d/s; chown 33:44 /srv/d /srv/d/s
            chmod 6755 /srv/d/s; chmod 2751 /srv/d; touch -d '2001-02-03 04:05:06' /srv/d/s";
        web.shell(make).ok();
        let srv = web.root().join("srv/d/s");
        tool("setcap", &["cap_net_raw=ep", &srv.display().to_string()], Path::new("/"));
        tool("setfattr", &["-n", "user.colour", "-v", "green", "s"], &web.root().join("srv/d"));
        web.shell("chmod 6755 /srv/d/s").ok();
        cp(&host, ["web:/srv/d", "."]).ok();
        let seen = |path: &Path| {
            let meta = fs::metadata(path).expect("it is there");
            (meta.uid(), meta.gid(), meta.mode() & 0o7777, meta.mtime())
        };
        let out = place(&host).join("d");
        let kept = seen(&srv).3;
        assert_eq!((seen(&out.join("s"))), (0, 0, 0o755, kept), "{mode}");
        assert_eq!(seen(&out).2, 0o751);
        let attributes = ["-d", "-m", "-", "d/s"];
        let shown = command::run(
            Command::new("getfattr").args(attributes).current_dir(place(&host)),
            DEADLINE,
        );
        assert!(shown.stdout.contains("user.colour=\"green\""), "{shown}");
        assert!(!shown.stdout.contains("security.capability"), "{shown}");
        // And in.
        chown(out.join("s"), Some(1000), Some(1000)).expect("it is ours");
        fs::set_permissions(out.join("s"), fs::Permissions::from_mode(0o4711)).expect("ours");
        cp(&host, ["d/s", "web:/srv/new"]).ok();
        web.shell("stat -c %u:%g:%a /srv/new").ok().says("0:0:711\n");
        // Ids that no guest has are said.
        chown(out.join("s"), Some(100_000), Some(5)).expect("it is ours");
        let answer = cp(&host, ["-a", "d/s", "web:/srv/beyond"]).ok();
        let owner = match mode {
            "host" => "100000:5\n",
            _ => "65534:5\n",
        };
        assert_eq!(answer.stderr.contains("became nobody"), mode != "host", "{answer}");
        let numbers = fs::metadata(web.root().join("srv/beyond")).expect("it is there");
        assert_eq!(format!("{}:{}\n", numbers.uid(), numbers.gid()), owner, "{mode}");
        web.stop();
    }
}

fn what_a_guest_sees_is_what_is_meant(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    fs::create_dir_all(place(&host).join("tree/lock/deep")).expect("it can be made");
    for file in ["one", "lock/two", "lock/deep/three"] {
        fs::write(place(&host).join("tree").join(file), file).expect("it can be written");
    }
    web.start();
    // In memory, and nowhere below the guest's directory.
    cp(&host, ["tree/one", "web:/run/one"]).ok();
    web.shell("cat /run/one").ok().says("one");
    assert!(!web.root().join("run/one").exists());
    cp(&host, ["web:/run/one", "again"]).ok();
    assert_eq!(fs::read(place(&host).join("again")).expect("it is there"), b"one");
    // Over a border between file systems, into directories that are there.
    cp(&host, ["tree/.", "web:/run"]).ok();
    web.shell("cat /run/one /run/lock/two /run/lock/deep/three")
        .ok()
        .says("onelock/twolock/deep/three");
    web.shell("ls -a /run /run/lock | grep vserver-cp").code(1);
    // A paused guest is as it is.
    host.vserver(["pause", "web"]).ok();
    cp(&host, ["web:/run/lock", "locks"]).ok();
    assert_eq!(fs::read(place(&host).join("locks/two")).expect("it is there"), b"lock/two");
    host.vserver(["resume", "web"]).ok();
    // The kernel's own is none of it.
    let all = cp(&host, ["web:/", "all"]).ok();
    all.complains("'proc', 'sys'");
    assert!(!place(&host).join("all/proc").exists() && place(&host).join("all/bin/sh").exists());
    for kernels in ["web:/proc", "web:/sys/kernel", "web:/proc/."] {
        cp(&host, [kernels, "no"]).code(1).complains("the kernel's own");
        cp(&host, ["tree/one", kernels]).code(1).complains("the kernel's own");
    }
    web.stop();
}

fn files_lie_where_they_may(tree: Tree) {
    let host = Host::new();
    let golden = host.guest("golden").tree(tree).build();
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    let clone = |name: &str, more: &[&str]| {
        host.vserver(["clone", "golden", name].iter().chain(more)).ok();
        golden.other(name)
    };
    let image = clone("image", &["--storage", "image", "--size", "64M"]);
    let overlay = clone("overlay", &["--snapshot", "v1", "--storage", "overlay"]);
    fs::write(place(&host).join("one"), "1").expect("it can be written");
    for guest in [image, overlay] {
        let there = |path: &str| format!("{}:{path}", guest.name());
        cp(&host, ["one", &there("/srv")]).ok();
        cp(&host, ["one", &there("/etc/inittab.new")]).ok();
        guest.start();
        guest.shell("cat /srv/one; stat -c %u /etc/inittab.new").ok().says("10\n");
        cp(&host, ["one", &there("/etc/two")]).ok();
        cp(&host, ["-a", &there("/etc"), guest.name()]).ok();
        guest.shell("cat /etc/two").ok().says("1");
        guest.stop();
        cp(&host, [there("/etc/two").as_str(), &format!("{}-two", guest.name())]).ok();
        assert!(place(&host).join(guest.name()).join("inittab").exists());
        assert_eq!(leftovers(&guest.root()), [""; 0].map(PathBuf::from));
    }
}

/// In a guest over a base nobody can make what says that a file was removed.
fn what_an_overlay_can_not_hold_is_named(tree: Tree) {
    let host = Host::new();
    let golden = host.guest("golden").tree(tree).build();
    host.vserver(["snapshot", "create", "golden", "v1"]).ok();
    host.vserver(["clone", "golden", "web", "--snapshot", "v1", "--storage", "overlay"]).ok();
    let layer = place(&host).join("layer");
    fs::create_dir(&layer).expect("it can be made");
    tool("mknod", &["gone", "c", "0", "0"], &layer);
    fs::hard_link(layer.join("gone"), layer.join("also")).expect("it can be made");
    fs::write(layer.join("file"), "x").expect("it can be written");
    let copied = cp(&host, ["-a", "layer", "web:/srv"]).ok();
    copied.complains("would take for removed is left out: 'also', 'gone'");
    golden.other("web").shell("ls /srv/layer").ok().says("file\n");
}

fn names_of_any_bytes_come_over(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    let long = "x".repeat(255);
    let names: [&[u8]; 4] = [b"\xff\xfe", b"a\nb\x1b[2J", b"a:b", long.as_bytes()];
    for (number, bytes) in names.iter().enumerate() {
        let name = OsStr::from_bytes(bytes);
        fs::write(place(&host).join(name), [number as u8]).expect("it can be written");
        let word = |side: &[u8]| OsStr::from_bytes(&[side, bytes].concat()).to_owned();
        cp(&host, [word(b"./"), "web:/srv".into()]).ok();
        fs::remove_file(place(&host).join(name)).expect("it is there");
        cp(&host, [word(b"web:/srv/"), ".".into()]).ok();
        assert_eq!(fs::read(place(&host).join(name)).expect("it is there"), [number as u8]);
    }
    // What is said of them is harmless.
    web.shell("rm -r /srv; mkdir /srv").ok();
    let answer = cp(&host, [OsStr::from_bytes(b"web:/srv/\x1b[2J"), OsStr::new(".")]).code(1);
    answer.complains("'web:/srv/\\x1b[2J'");
    web.stop();
}

fn destinations_are_those_of_cp(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    let file = |name: &str, text: &str| {
        let path = place(&host).join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        fs::write(path, text).expect("it can be written");
    };
    file("one", "1");
    file("two", "2");
    file("d/e/f", "new");
    cp(&host, ["one", "two", "web:/srv"]).ok();
    cp(&host, ["one", "web:/srv/three"]).ok();
    cp(&host, ["one", "web:srv/."]).ok();
    web.shell("cd /srv; cat one two three").ok().says("121");
    cp(&host, ["d", "web:/srv/new"]).ok();
    cp(&host, ["d", "web:/srv"]).ok();
    web.shell("cd /srv; cat new/e/f d/e/f").ok().says("newnew");
    // One that is there keeps what is its own.
    web.shell("cd /srv; chown 33 d; chmod 711 d; echo old >d/e/f; echo mine >d/mine").ok();
    cp(&host, ["-n", "d", "web:/srv"]).ok().complains("1 names were there");
    web.shell("cat /srv/d/e/f").ok().says("old\n");
    cp(&host, ["d", "web:/srv"]).ok();
    web.shell("cd /srv; cat d/e/f d/mine; stat -c %u:%a d").ok().says("newmine\n33:711\n");
    // Links: to a directory, followed; to a file, replaced.
    web.shell("cd /srv; ln -s /srv/d into; ln -s /etc/passwd file").ok();
    cp(&host, ["one", "web:/srv/into"]).ok();
    cp(&host, ["one", "web:/srv/file"]).ok();
    web.shell("cat /srv/d/one /srv/file; grep -c root /etc/passwd").ok().says("111\n");
    cp(&host, ["web:/srv/into", "link"]).ok();
    cp(&host, ["web:/srv/into/", "directory"]).ok();
    assert!(place(&host).join("link").is_symlink());
    assert_eq!(fs::read(place(&host).join("directory/one")).expect("it is there"), b"1");
    let tried = cp(&host, ["--dry-run", "one", "web:/srv/d"]).ok();
    tried.says("would copy 'one' to 'web:/srv/d/one'\n");
    web.stop();
}

fn mistakes_change_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    fs::write(place(&host).join("one"), "1").expect("it can be written");
    fs::create_dir_all(place(&host).join("d/passwd")).expect("it can be made");
    for is_running in [false, true] {
        if is_running {
            web.start();
        }
        let wrong: [(&[&str], i32, &str); 9] = [
            (&["one", "nobody:/"], 5, "no guest 'nobody'"),
            (&["one", "two"], 2, "is in a guest"),
            (&["web:/a", "web:/b"], 2, "both in a guest"),
            (&["nothing", "web:/"], 1, "nothing'"),
            (&["web:/nothing", "."], 1, "'web:/nothing': No such file"),
            (&["one", "web:/nothing/x"], 1, "'web:/nothing/x'"),
            (&["one", "web:/nothing/"], 1, "'web:/nothing': No such file"),
            (&["one", "d", "web:/etc/passwd"], 1, "'web:/etc/passwd': Not a directory"),
            (&["d/.", "web:/etc"], 1, "'web:/etc/passwd' is no directory"),
        ];
        for (words, code, said) in wrong {
            cp(&host, words).code(code).complains(said);
        }
        cp(&host, ["web:/etc/passwd", "d"]).code(1).complains("is a directory");
        cp(&host, ["one"]).code(2);
    }
    web.stop();
    assert_eq!(leftovers(host.prefix()), [""; 0].map(PathBuf::from));
}

fn interrupted(host: &Host, web: &Guest<'_>, words: [&str; 2], signal: Signal) -> bool {
    let mut copy = host.command(["cp"]);
    let mut copy = copy.args(words).current_dir(place(host)).spawn().expect("it runs");
    eventually(DEADLINE, "it has begun", || {
        let is_there = !leftovers(&place(host)).is_empty() || !leftovers(&web.root()).is_empty();
        (is_there || copy.try_wait().expect("it is ours").is_some()).then_some(())
    });
    let _ = kill(Pid::from_raw(copy.id().cast_signed()), signal);
    copy.wait().expect("it ends").success()
}

fn an_interrupted_copy_leaves_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    let mut make = Command::new("dd");
    make.args(["if=/dev/urandom", "of=large", "bs=1M", "count=600"]);
    command::run(make.current_dir(place(&host)), DEADLINE).ok();
    let large = File::open(place(&host).join("large")).expect("it is there");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
        until_cut(|| {
            let whole = interrupted(&host, &web, ["large", "web:/srv/copy"], signal);
            assert_eq!(web.root().join("srv/copy").exists(), whole, "{signal}");
            let left = leftovers(&web.root());
            assert!(left.is_empty() || signal == Signal::SIGKILL, "{signal}: {left:?}");
            let _ = fs::remove_file(web.root().join("srv/copy"));
            !whole
        });
    }
    // What a killed one left goes with the next.
    fs::write(place(&host).join("small"), "1").expect("it can be written");
    cp(&host, ["small", "web:/srv"]).ok();
    assert_eq!(leftovers(&web.root()), [""; 0].map(PathBuf::from));
    drop(large);
    web.stop();
}

fn one_that_waits_for_another_command_says_so(tree: Tree) {
    let host = Host::new();
    let guest = host.guest("web").tree(tree).build();
    let name = "web".parse().expect("a name");
    let held = vserver::runtime::Lock::wait(&host.paths().lock(&name)).expect("it can be locked");
    let place = place(&host);
    let mut copy = host.command(["cp", "web:/etc/passwd"]);
    let mut copy = copy.arg(&place).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut said = BufReader::new(copy.stderr.take().expect("it is piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it says something");
    let holder = format!("at work with guest 'web': process {}", std::process::id());
    assert!(line.contains(&holder), "{line}");
    let pid = Pid::from_raw(i32::try_from(copy.id()).expect("a pid"));
    kill(pid, Signal::SIGINT).expect("it lives");
    assert_eq!(copy.wait().expect("it ends").code(), Some(1));
    said.read_line(&mut line).expect("it says something");
    assert!(line.contains("interrupted"), "{line}");
    drop(held);
    guest.start().stop();
}

fn a_full_file_system_leaves_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.start();
    fs::create_dir(place(&host).join("d")).expect("it can be made");
    fs::write(place(&host).join("d/a"), "1").expect("it can be written");
    fs::write(place(&host).join("d/large"), vec![7; 16 << 20]).expect("it can be written");
    // Five megabytes.
    for to in ["web:/run/lock", "web:/run/lock/new"] {
        cp(&host, ["d", to]).code(1).complains("No space left");
        web.shell("ls -A /run/lock").ok().says("");
    }
    cp(&host, ["d", "web:/srv"]).ok();
    web.stop();
}

/// A program that has a lease on a file (fcntl(2), `F_SETLEASE`), such as Samba's,
/// gives it back when it is asked to, or has it taken away after a while.
fn a_file_with_a_lease_is_waited_for(tree: Tree) {
    const LEASE: &str = "open F, '+<', $ARGV[0] or die; $SIG{IO} = sub { sleep 1; close F };
        fcntl F, 1024, 1 or die $!; $| = 1; print \"held\\n\"; $SIG{IO} = 'IGNORE' if $ARGV[1];
        sleep 1000 while 1";
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    web.write("/srv/share", "text", 0o644);
    let lease = |keep: &str| {
        let mut perl = Command::new("perl");
        let perl = perl.args(["-e", LEASE]).arg(web.root().join("srv/share")).arg(keep);
        let mut holder = perl.stdout(Stdio::piped()).spawn().expect("it runs");
        let mut line = [0; 5];
        holder.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("it says so");
        holder
    };
    let copies: [&[&str]; 3] = [
        &["cp", "web:/srv/share", "/dev/shm"],
        &["snapshot", "create", "web", "v1"],
        &["export", "web", "-"],
    ];
    for copy in copies {
        let mut holder = lease("");
        let mut command = host.command(
            copy.iter().map(|word| word.replace("/dev/shm", &place(&host).to_string_lossy())),
        );
        let mut child = command.stdout(Stdio::null()).spawn().expect("it runs");
        let is_done = eventually(DEADLINE, "it ends", || child.try_wait().expect("it is ours"));
        assert!(is_done.success(), "{copy:?}");
        let _ = holder.kill();
        let _ = holder.wait();
    }
    assert_eq!(fs::read(place(&host).join("share")).expect("it is there"), b"text");
    // Who waits can be interrupted.
    let mut holder = lease("keep");
    let mut waiting = host.command(["cp", "web:/srv/share", "."]);
    let mut waiting = waiting.current_dir(place(&host)).spawn().expect("it runs");
    let pid = Pid::from_raw(waiting.id().cast_signed());
    eventually(DEADLINE, "it has begun", || (!leftovers(&place(&host)).is_empty()).then_some(()));
    kill(pid, Signal::SIGINT).expect("it is ours");
    let end =
        eventually(Duration::from_secs(20), "it ends", || waiting.try_wait().expect("it is ours"));
    assert_eq!(end.code(), Some(1));
    let _ = holder.kill();
    let _ = holder.wait();
    assert_eq!(leftovers(&place(&host)), [""; 0].map(PathBuf::from));
}
