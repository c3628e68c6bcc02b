//! `vserver export` and `import`: nothing is lost on the way, and what isn't
//! whole makes no guest.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::same::{assert_holes, differences, furnish};
use tests::{DEADLINE, Guest, Host, Tree, command, eventually, executable, until_cut};

on! { Bookworm: [a_whole_system_moves_to_another_host, what_rsync_has_copied_is_the_guest] }
on! { Busybox: [
    nothing_is_lost_on_the_way,
    other_tools_unpack_it_too,
    a_copy_has_an_identity_of_its_own,
    what_belongs_to_the_host_is_not_taken_over_unasked,
    what_is_damaged_makes_no_guest,
    an_export_that_fails_leaves_nothing,
    a_bare_name_is_in_the_working_directory,
    a_dry_run_says_what_would_be_written_and_writes_nothing,
] }

/// What a whole system takes, on a busy machine.
const LONG: Duration = Duration::from_secs(180);

/// As container engines in a guest have it in a layer, whose files a lower one has;
/// any user may.
const REMOVED: &str = "mknod /srv/gone c 0 0; ln /srv/gone /srv/also-gone";

/// Where an archive is written: not on the host's own disk.
fn file(host: &Host) -> PathBuf {
    host.paths().roots_dir().with_file_name("web.tar.zst")
}

fn exported(guest: &Guest<'_>, host: &Host) -> String {
    let file = file(host).display().to_string();
    host.vserver(["export", guest.name(), &file]).ok();
    file
}

fn a_whole_system_moves_to_another_host(tree: Tree) {
    let (here, there) = (Host::new(), Host::new());
    let web = here.guest("web").tree(tree).set("description", "customer 17").build();
    web.start();
    web.wait_for_process("sshd");
    web.shell("echo kept >/srv/kept").ok();
    web.stop();
    // As through ssh: nothing touches the disk in between.
    let mut export =
        here.command(["export", "web", "-"]).stdout(Stdio::piped()).spawn().expect("it runs");
    let mut import = there.command(["import", "-"]);
    import.stdin(export.stdout.take().expect("it has one")).stderr(Stdio::piped());
    let mut import = import.spawn().expect("it runs");
    let end = eventually(LONG, "it is imported", || import.try_wait().expect("it is ours"));
    let mut complaints = String::new();
    let mut stderr = import.stderr.take().expect("it has one");
    stderr.read_to_string(&mut complaints).expect("it can be read");
    assert!(end.success() && complaints.is_empty(), "{end}: {complaints}");
    assert!(export.wait().expect("it ends").success());
    let moved = web.on(&there);
    assert_eq!(differences(&web.root(), &moved.root()), [""; 0]);
    assert_eq!(web.status().context, moved.status().context);
    moved.start();
    moved.exec(["cat", "/srv/kept"]).ok().says("kept\n");
    moved.exec(["apt-get", "check"]).ok();
    moved.wait_for_process("sshd");
    let listed = there.vserver(["list"]).ok();
    assert!(listed.stdout.contains("customer 17"), "{listed}");
    moved.stop();
}

fn nothing_is_lost_on_the_way(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    furnish(&web);
    web.shell(REMOVED).ok();
    let file = exported(&web, &host);
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "there are passwords in it");
    // The context is still the other's.
    host.vserver(["import", &file, "shop"]).ok().complains("and no longer");
    let shop = web.other("shop");
    assert_eq!(differences(&web.root(), &shop.root()), [""; 0]);
    assert_holes(&web, &shop);
    shop.start();
    shop.stop();
}

fn other_tools_unpack_it_too(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    furnish(&web);
    web.shell(REMOVED).ok();
    let file = exported(&web, &host);
    let place = host.paths().roots_dir().with_file_name("unpacked");
    fs::create_dir(&place).expect("it can be made");
    let mut tar = Command::new("tar");
    tar.args(["--zstd", "--xattrs", "--xattrs-include=*", "-xpf", &file, "-C"]).arg(&place);
    command::run(&mut tar, DEADLINE).ok();
    assert_eq!(differences(&web.root(), &place.join("root")), [""; 0]);
    let config = fs::read_to_string(place.join("vserver/config.toml")).expect("it is there");
    assert_eq!(config, fs::read_to_string(config_of(&host, "web")).expect("it is there"));
    fs::remove_dir_all(&place).expect("it can be removed");
}

/// A backup as docs/building.md has it: root, configuration, actions, account.
fn what_rsync_has_copied_is_the_guest(tree: Tree) {
    let (here, there) = (Host::new(), Host::new());
    let web = here.guest("web").tree(tree).set("description", "customer 17").build();
    furnish(&web);
    let actions = "#!/bin/sh\necho $1 >>${0%/etc/*}/actions\n";
    let path = here.paths().config_dir().join("web.sh");
    executable::write(&path, actions, 0o755);
    web.start();
    web.wait_for_process("sshd");
    web.stop();
    let account = fs::read_dir(here.paths().usage_dir()).expect("there is an account");
    let account = account.map(|entry| entry.expect("it can be read").path());
    let source = |path: &Path| path.strip_prefix(here.prefix()).expect("below it").to_owned();
    let mut rsync = Command::new("rsync");
    rsync.args(["-aHAX", "--numeric-ids", "--sparse", "--relative"]).current_dir(here.prefix());
    let paths = [web.root(), config_of(&here, "web"), path].into_iter().chain(account);
    rsync.args(paths.map(|path| source(&path))).arg(there.prefix());
    command::run(&mut rsync, LONG).ok();
    let copy = web.on(&there);
    assert_eq!(differences(&web.root(), &copy.root()), [""; 0]);
    assert_holes(&web, &copy);
    assert_eq!(web.status().context, copy.status().context);
    let boots = |host: &Host| host.vserver(["usage", "web"]).ok().stdout;
    assert_eq!(boots(&there), boots(&here));
    copy.start();
    copy.wait_for_process("sshd");
    copy.exec(["apt-get", "check"]).ok();
    let listed = there.vserver(["list"]).ok();
    assert!(listed.stdout.contains("customer 17"), "{listed}");
    copy.stop();
    let acted = fs::read_to_string(there.prefix().join("actions")).expect("they have run there");
    assert_eq!(acted, "pre-start\npost-start\npre-stop\npost-stop\n");
}

fn a_copy_has_an_identity_of_its_own(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).set("network.addresses", "192.0.2.10").build();
    let file = exported(&web, &host);
    let copy = ["import", &file, "shop", "--new-identity", "--address", "192.0.2.11"];
    let tried = host.vserver([&copy[..], &["--dry-run"]].concat()).ok();
    assert!(tried.stdout.contains("would be made of guest 'web'"), "{tried}");
    host.vserver(["status", "shop"]).code(5);
    host.vserver(copy).ok();
    let shop = web.other("shop");
    assert_eq!(differences(&web.root(), &shop.root()), ["etc/hostname", "etc/hosts"]);
    assert_eq!(shop.status().addresses, ["192.0.2.11"]);
    assert_ne!(shop.status().context, web.status().context);
}

fn what_belongs_to_the_host_is_not_taken_over_unasked(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).set("security.capabilities.add", "net_admin");
    let web = web.set("autostart", "true");
    let web = web.set("boot.credentials.key", "{ file = \"/etc/shadow\" }").build();
    let actions = |name: &str| host.paths().actions(&name.parse().expect("a name"));
    fs::write(actions("web"), "#!/bin/sh\n").expect("it can be written");
    let file = exported(&web, &host);
    let imported = host.vserver(["import", &file, "shop"]).ok();
    imported.clone().complains("'--actions' takes them over");
    imported.clone().complains("its credential 'key', which is '/etc/shadow' of this host");
    imported.clone().complains("its configuration sets what its root may do");
    imported.complains("isn't started with this host until 'vserver enable shop'");
    let has = |name, line: &str| {
        let text = fs::read_to_string(config_of(&host, name)).expect("it is there");
        text.lines().any(|one| one == line)
    };
    assert!(has("shop", "autostart = false") && !has("shop", "autostart = true"));
    assert!(!actions("shop").exists());
    let has_key = |name| {
        let text = fs::read_to_string(config_of(&host, name)).expect("it is there");
        text.lines().any(|line| line.contains("/etc/shadow") && !line.starts_with('#'))
    };
    assert!(!has_key("shop"));
    host.vserver(["import", &file, "mail", "--actions"]).ok();
    assert!(has_key("mail") && has("mail", "autostart = true"));
    let mode = |name| fs::metadata(actions(name)).expect("it is there").permissions().mode();
    assert_eq!(mode("mail"), mode("web"));
}

fn what_is_damaged_makes_no_guest(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let file = exported(&web, &host);
    let ids = || fs::read_to_string(host.paths().ids()).expect("it is there");
    let before = ids();
    let refused = |bytes: &[u8], why: &str| {
        let other = PathBuf::from(&file).with_file_name("other.tar.zst");
        fs::write(&other, bytes).expect("it can be written");
        let other = other.display().to_string();
        host.vserver(["import", &other, "shop"]).code(1).complains(why);
        host.vserver(["status", "shop"]).code(5);
    };
    let bytes = fs::read(&file).expect("it is there");
    refused(&bytes[..bytes.len() / 2], "cannot import");
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 0x55;
    refused(&damaged, "cannot import");
    refused(b"hello", "no archive that 'vserver export' has written");
    host.vserver(["import", &file]).code(1).complains("'web' exists");
    host.vserver(["import", &file, "shop", "--address", "nonsense"]).code(2);
    host.vserver(["import", "/nowhere"]).code(1).complains("No such file");
    // Interrupted while nothing comes in.
    let (reading, writing) = std::io::pipe().expect("there is one");
    let mut import = host.command(["import", "-", "shop"]).stdin(reading).spawn().expect("it runs");
    kill(Pid::from_raw(import.id().cast_signed()), Signal::SIGTERM).expect("it is there");
    assert!(!import.wait().expect("it ends").success());
    drop(writing);
    assert_eq!((left_in(&host.paths().roots_dir()), ids()), (1, before));
}

fn a_bare_name_is_in_the_working_directory(tree: Tree) {
    let host = Host::new();
    host.guest("web").tree(tree).build();
    let place = file(&host).parent().expect("it has one").to_owned();
    let export = |words: &[&str]| {
        let mut export = host.command(["export", "web", "web.tar.zst"]);
        command::run(export.args(words).current_dir(&place), DEADLINE)
    };
    export(&[]).ok();
    export(&[]).code(1).complains("web.tar.zst");
    export(&["--force"]).ok();
    let mut import = host.command(["import", "web.tar.zst", "copy"]);
    command::run(import.current_dir(&place), DEADLINE).ok();
}

fn a_dry_run_says_what_would_be_written_and_writes_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let place = file(&host).display().to_string();
    let would = |words: &[&str]| host.vserver(["export", "web", "--dry-run"].iter().chain(words));
    would(&[&place]).ok().says(&format!("would write guest 'web' to '{place}'\n"));
    would(&["-"]).ok().says("would write guest 'web' to standard output\n");
    assert!(!file(&host).exists());
    fs::write(file(&host), "another").expect("a file can be written");
    would(&[&place]).code(1).complains("exists");
    let replaced = format!("would replace '{place}' by guest 'web'\n");
    would(&[&place, "--force"]).ok().says(&replaced);
    web.start();
    would(&[&place, "--force"]).code(1).complains("is running");
    web.stop();
    assert_eq!(fs::read(file(&host)).expect("it is there"), b"another");
}

fn an_export_that_fails_leaves_nothing(tree: Tree) {
    let host = Host::new();
    let web = host.guest("web").tree(tree).build();
    let file = file(&host).display().to_string();
    let place = Path::new(&file).parent().expect("it has one").to_owned();
    web.start();
    host.vserver(["export", "web", &file]).code(1).complains("'web' is running");
    web.stop();
    host.vserver(["export", "nobody", &file]).code(5);
    host.vserver(["export", "web", "/nowhere/web"]).code(1).complains("/nowhere");
    let before = left_in(&place);
    // No room, and nobody who listens.
    let full = File::options().write(true).open("/dev/full").expect("it is there");
    let mut export = host.command(["export", "web", "-"]);
    export.stdout(full);
    let end = export.stderr(Stdio::null()).status().expect("it runs");
    assert_eq!(end.code(), Some(1));
    // Interrupted while it writes.
    web.shell("dd if=/dev/urandom of=/srv/large bs=1M count=64").ok();
    until_cut(|| {
        let mut exporting = host.command(["export", "web", &file]).spawn().expect("it runs");
        eventually(DEADLINE, "it has begun", || (left_in(&place) > before).then_some(()));
        kill(Pid::from_raw(exporting.id().cast_signed()), Signal::SIGTERM).expect("it is there");
        let is_cut = !exporting.wait().expect("it ends").success();
        if !is_cut {
            fs::remove_file(&file).expect("it was written");
        }
        assert_eq!(left_in(&place), before);
        is_cut
    });
    fs::write(&file, "mine").expect("it can be written");
    host.vserver(["export", "web", &file]).code(1).complains("exists");
    assert_eq!(fs::read(&file).expect("it is there"), b"mine");
    host.vserver(["export", "web", &file, "--force"]).ok();
    host.vserver(["import", &file, "shop"]).ok();
    // A device of the host's would be lost.
    let fifo = place.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("it can be made");
    let fifo = fifo.to_string_lossy().into_owned();
    host.vserver(["export", "web", &fifo, "--force"]).code(1).complains("not a regular file");
    assert!(!fs::metadata(&fifo).expect("it is there").is_file());
}

fn config_of(host: &Host, name: &str) -> PathBuf {
    host.paths().config(&name.parse().expect("a name"))
}

fn left_in(directory: &Path) -> usize {
    fs::read_dir(directory).expect("it is there").count()
}
