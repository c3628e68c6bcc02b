//! Workspaces that are kept, dropped, and left by who was killed.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::build::{Access, Site, Store, refuse};
use crate::ids;
use crate::interrupt::Interrupt;
use crate::paths::Paths;
use crate::runtime::Lock;

fn name() -> GuestName {
    "web".parse().unwrap()
}

fn made(parent: &Path) -> Workspace {
    let workspace = Workspace::create(parent, &name()).unwrap();
    workspace.make_root().unwrap();
    workspace
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Has what killed ones have left removed: the workspaces that have gone.
fn swept(parent: &Path) -> Vec<String> {
    let host = Host::new();
    let before = names(parent);
    sweep_for(&host, parent);
    let after = names(parent);
    let is_gone = |name: &String| name.starts_with(".vserver-") && !after.contains(name);
    before.into_iter().filter(is_gone).collect()
}

fn sweep_for(host: &Host, parent: &Path) {
    let own = "own".parse().unwrap();
    let left = Leftovers::take_back(parent, &host.paths, &own).unwrap();
    left.remove_all(&host.paths, &own, &Interrupt::default(), &mut Progress::silent()).unwrap();
}

/// With a place for guests, of which there are none.
struct Host {
    _prefix: TempDir,
    paths: Paths,
}

impl Host {
    fn new() -> Self {
        let prefix = tempfile::tempdir().unwrap();
        let paths = Paths::new(prefix.path());
        fs::create_dir_all(paths.config_dir()).unwrap();
        fs::create_dir_all(paths.roots_dir()).unwrap();
        Self { _prefix: prefix, paths }
    }
}

/// As when its owner was killed: nobody cares for it any more.
fn killed(mut placed: Placed) {
    placed.target = None;
    placed.aside.moved.clear();
    abandoned(placed.workspace.path.clone());
}

fn abandoned(path: PathBuf) {
    fs::rename(&path, path.with_file_name(LEFT)).unwrap();
}

/// What a killed build has left.
const LEFT: &str = ".vserver-build-web-1-0";

/// A directory closed to everybody else.
fn closed(path: &Path) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_dropped_workspace_is_gone_and_a_foreign_one_stays() {
    let parent = tempfile::tempdir().unwrap();
    let workspace = Workspace::create(parent.path(), &name()).unwrap();
    assert!(swept(parent.path()).is_empty());
    assert_eq!(names(parent.path()).len(), 1);
    drop(workspace);
    assert_eq!(names(parent.path()).len(), 0);
}

#[test]
fn a_killed_build_is_swept_away_with_its_root() {
    let parent = tempfile::tempdir().unwrap();
    let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
    killed(made(parent.path()).place(&target, &config, false, false).unwrap());
    assert!(target.exists());
    assert_eq!(swept(parent.path()), [LEFT]);
    assert_eq!(names(parent.path()).len(), 0);
}

#[test]
fn only_what_is_a_workspace_is_swept_away() {
    let parent = tempfile::tempdir().unwrap();
    let at = |name: &str| parent.path().join(name);
    let others = [
        ".build-mine",
        ".delete-mine",
        ".build-web-1",
        ".vserver-build-mine",
        ".vserver-build-web-1",
        ".vserver-build-web-1-x",
        ".vserver-build-web--0",
        ".vserver-build-Not a name-1-0",
        ".vserver-cp-mine",
        ".vserver-cp-1",
    ];
    for name in others {
        closed(&at(name));
        fs::write(at(name).join("file"), "").unwrap();
    }
    // Into which others can look, and what is no directory.
    closed(&at(".vserver-build-web-1-0"));
    let open = fs::Permissions::from_mode(0o750);
    fs::set_permissions(at(".vserver-build-web-1-0"), open).unwrap();
    fs::write(at(".vserver-delete-web-1-0"), "").unwrap();
    std::os::unix::fs::symlink(".build-mine", at(".vserver-delete-web-1-1")).unwrap();
    let before = names(parent.path());
    assert!(swept(parent.path()).is_empty());
    assert_eq!(names(parent.path()), before);
    for name in [".vserver-build-a-b-17-0", ".vserver-delete-a-b-17-1"] {
        closed(&at(name));
        fs::write(at(name).join("file"), "").unwrap();
    }
    assert_eq!(swept(parent.path()), [".vserver-build-a-b-17-0", ".vserver-delete-a-b-17-1"]);
    assert_eq!(names(parent.path()), before);
}

/// What anybody may write into such a directory moves nothing.
#[test]
fn nobody_else_says_what_is_taken_back() {
    let parent = tempfile::tempdir().unwrap();
    let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
    killed(made(parent.path()).place(&target, &config, false, false).unwrap());
    let left = parent.path().join(".vserver-build-web-1-0");
    fs::set_permissions(&left, fs::Permissions::from_mode(0o777)).unwrap();
    swept(parent.path());
    assert!(target.exists() && left.exists());
    if rustix::process::geteuid().is_root() {
        fs::set_permissions(&left, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&left, Some(1000), None).unwrap();
        swept(parent.path());
        assert!(target.exists() && left.exists());
    }
}

#[test]
fn removing_what_is_left_can_be_interrupted_and_holds_up_nobody() {
    let parent = tempfile::tempdir().unwrap();
    let left = parent.path().join(".vserver-delete-web-1-0");
    closed(&left);
    fs::write(left.join("file"), "").unwrap();
    let (host, own) = (Host::new(), name());
    let held = Leftovers::take_back(parent.path(), &host.paths, &own).unwrap();
    // Another one passes it by, and makes its own.
    assert!(swept(parent.path()).is_empty());
    drop(made(parent.path()));
    let interrupt = Interrupt::asked_after(std::time::Duration::ZERO);
    while !interrupt.is_asked() {
        std::thread::yield_now();
    }
    let removed = held.remove_all(&host.paths, &own, &interrupt, &mut Progress::silent());
    let error = removed.unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
    assert!(left.join("file").exists());
    assert_eq!(swept(parent.path()), [".vserver-delete-web-1-0"]);
    assert_eq!(names(parent.path()).len(), 0);
}

/// Each sweeps what it takes for left.
#[test]
fn many_at_a_time_leave_each_other_alone() {
    let parent = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    swept(parent.path());
                    let workspace = Workspace::create(parent.path(), &name()).unwrap();
                    fs::create_dir(workspace.root()).unwrap();
                    std::thread::yield_now();
                    assert!(workspace.root().exists());
                }
            });
        }
    });
    assert_eq!(names(parent.path()).len(), 0);
}

#[test]
fn a_complete_guest_is_not_swept_away() {
    let parent = tempfile::tempdir().unwrap();
    let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
    let placed = made(parent.path()).place(&target, &config, false, false).unwrap();
    fs::write(&config, "").unwrap();
    killed(placed);
    swept(parent.path());
    assert_eq!(names(parent.path()), ["web", "web.toml"]);
}

#[test]
fn a_guest_that_was_to_go_on_is_swept_away_with_its_configuration() {
    let parent = tempfile::tempdir().unwrap();
    let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
    let placed = made(parent.path()).place(&target, &config, true, false).unwrap();
    fs::write(&config, "").unwrap();
    killed(placed);
    swept(parent.path());
    assert_eq!(names(parent.path()).len(), 0);
    // One that is kept has nothing that could take it back.
    let placed = made(parent.path()).place(&target, &config, true, false).unwrap();
    fs::write(&config, "").unwrap();
    placed.keep();
    assert_eq!(names(parent.path()), ["web", "web.toml"]);
}

#[test]
fn a_root_that_is_not_kept_goes_again() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("web");
    let workspace = made(parent.path());
    drop(workspace.place(&target, &parent.path().join("c"), false, false).unwrap());
    assert_eq!(names(parent.path()).len(), 0);
}

#[test]
fn an_existing_target_is_not_replaced() {
    let parent = tempfile::tempdir().unwrap();
    let target = parent.path().join("web");
    fs::create_dir(&target).unwrap();
    let workspace = made(parent.path());
    assert!(workspace.place(&target, &parent.path().join("c"), false, false).is_err());
    assert_eq!(names(parent.path()), ["web"]);
}

/// A guest that is there, with something to know it by.
fn old(parent: &Path) -> [PathBuf; 2] {
    let [root, config] = ["web", "web.toml"].map(|name| parent.join(name));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("old"), "").unwrap();
    fs::write(&config, "old").unwrap();
    [root, config]
}

#[test]
fn what_is_set_aside_comes_back_unless_kept() {
    let parent = tempfile::tempdir().unwrap();
    let [root, config] = old(parent.path());
    drop(made(parent.path()).place(&root, &config, false, true).unwrap());
    assert_eq!(names(parent.path()), ["web", "web.toml"]);
    assert!(root.join("old").exists());
    let placed = made(parent.path()).place(&root, &config, false, true).unwrap();
    assert_eq!(placed.keep().len(), 2);
    assert!(!root.join("old").exists() && !config.exists());
    let left = names(parent.path());
    assert!(left.len() == 3 && left[1].starts_with("web.toml.~"), "{left:?}");
}

/// Wherever it was killed.
#[test]
fn what_was_set_aside_for_a_killed_one_comes_back() {
    for (goes_on, has_config) in [(false, false), (true, false), (true, true)] {
        let parent = tempfile::tempdir().unwrap();
        let [root, config] = old(parent.path());
        let placed = made(parent.path()).place(&root, &config, goes_on, true).unwrap();
        if has_config {
            fs::write(&config, "new").unwrap();
        }
        killed(placed);
        swept(parent.path());
        assert_eq!(names(parent.path()), ["web", "web.toml"]);
        assert!(root.join("old").exists());
        assert_eq!(fs::read(&config).unwrap(), b"old");
    }
    // After the first, the second or neither was moved.
    for moved in 0..=2 {
        let parent = tempfile::tempdir().unwrap();
        let [root, config] = old(parent.path());
        let workspace = made(parent.path());
        let plan = Aside::plan([&root, &config]);
        let made = workspace.root();
        let journal = Journal::new(&made, &root, &config, false, plan.clone()).unwrap();
        journal.write(&workspace.path).unwrap();
        for (path, away) in plan.iter().take(moved) {
            fs::rename(path, away).unwrap();
        }
        abandoned(workspace.path.clone());
        drop(workspace);
        swept(parent.path());
        assert_eq!(names(parent.path()), ["web", "web.toml"]);
        assert!(root.join("old").exists() && config.exists());
    }
}

/// On a disk that has the renames in another order than they were made.
#[test]
fn an_old_configuration_is_not_taken_for_a_new_one() {
    let parent = tempfile::tempdir().unwrap();
    let [root, config] = old(parent.path());
    let placed = made(parent.path()).place(&root, &config, true, true).unwrap();
    let away = |(path, away): &(PathBuf, PathBuf)| (*path == config).then(|| away.clone());
    let away = placed.aside.moved.iter().find_map(away).unwrap();
    fs::rename(away, &config).unwrap();
    killed(placed);
    swept(parent.path());
    assert_eq!(names(parent.path()), ["web", "web.toml"]);
    assert!(root.join("old").exists());
    assert_eq!(fs::read(&config).unwrap(), b"old");
}

/// A deleted guest isn't followed by the one that it has replaced.
#[test]
fn what_was_set_aside_stays_when_the_new_one_was_deleted() {
    let parent = tempfile::tempdir().unwrap();
    let [root, config] = old(parent.path());
    killed(made(parent.path()).place(&root, &config, false, true).unwrap());
    fs::remove_dir(&root).unwrap();
    swept(parent.path());
    assert!(!root.exists() && !config.exists());
    assert_eq!(names(parent.path()).len(), 2);
}

/// Whatever a power failure has left of what is noted.
#[test]
fn a_note_that_is_cut_off_moves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
    killed(made(parent.path()).place(&target, &config, false, false).unwrap());
    let note = parent.path().join(".vserver-build-web-1-0/placing");
    let bytes = fs::read(&note).unwrap();
    fs::write(&note, &bytes[..bytes.len() - 1]).unwrap();
    swept(parent.path());
    assert_eq!(names(parent.path()), ["web"]);
}

/// It may be used from then on.
#[test]
fn what_was_kept_is_taken_back_by_no_note() {
    for goes_on in [false, true] {
        let parent = tempfile::tempdir().unwrap();
        let (target, config) = (parent.path().join("web"), parent.path().join("web.toml"));
        let mut placed = made(parent.path()).place(&target, &config, goes_on, false).unwrap();
        fs::write(&config, "").unwrap();
        placed.complete();
        killed(placed);
        // It was renamed, and its root has stayed.
        fs::rename(&config, parent.path().join("www.toml")).unwrap();
        assert!(!is_cut_short(&target).unwrap());
        swept(parent.path());
        assert_eq!(names(parent.path()), ["web", "www.toml"]);
    }
}

#[test]
fn a_root_that_somebody_uses_is_not_taken_back() {
    let (host, web) = (Host::new(), name());
    let (paths, parent) = (&host.paths, host.paths.roots_dir());
    let (root, config) = (paths.root(&web), paths.config(&web));
    killed(made(&parent).place(&root, &config, true, false).unwrap());
    fs::write(&config, "").unwrap();
    assert!(is_cut_short(&root).unwrap());
    for used in [paths.supervisor_lock(&web), paths.lock(&web)] {
        let lock = Lock::wait(&used).unwrap();
        sweep_for(&host, &parent);
        assert!(root.exists() && config.exists() && parent.join(LEFT).exists(), "{used:?}");
        lock.remove(&used);
    }
    // As another guest.
    let www = paths.config(&"www".parse().unwrap());
    fs::write(&www, format!("context = 7\nroot = \"{}\"\n", root.display())).unwrap();
    sweep_for(&host, &parent);
    assert!(root.exists() && www.exists() && parent.join(LEFT).exists());
    fs::remove_file(www).unwrap();
    sweep_for(&host, &parent);
    assert_eq!((names(&parent).len(), config.exists()), (0, false));
}

/// Whoever finds it: else 65,536 ids are nobody's for ever.
#[test]
fn numbers_go_with_what_a_killed_build_has_left() {
    let (host, web) = (Host::new(), name());
    let (paths, parent) = (&host.paths, host.paths.roots_dir());
    let has_numbers = || ids::lookup(paths, &web).unwrap().is_some();
    let leave = || {
        ids::allocate(paths, &web, None).unwrap();
        closed(&parent.join(LEFT));
    };
    leave();
    sweep_for(&host, &parent);
    assert!(!has_numbers() && !parent.join(LEFT).exists());
    assert!(!paths.lock(&web).exists());
    // What it does inside goes on, or somebody is at work with it.
    for used in [paths.supervisor_lock(&web), paths.lock(&web)] {
        leave();
        let lock = Lock::wait(&used).unwrap();
        sweep_for(&host, &parent);
        assert!(has_numbers() && parent.join(LEFT).exists(), "{used:?}");
        lock.remove(&used);
        sweep_for(&host, &parent);
        assert!(!has_numbers() && !parent.join(LEFT).exists(), "{used:?}");
    }
    // Those of a guest are its own.
    for its in [paths.config(&web), paths.root(&web)] {
        leave();
        fs::write(&its, "").unwrap();
        sweep_for(&host, &parent);
        assert!(has_numbers() && !parent.join(LEFT).exists(), "{its:?}");
        fs::remove_file(its).unwrap();
    }
}

#[test]
fn what_is_left_of_one_guest_goes_by_itself() {
    let (host, web) = (Host::new(), name());
    let parent = host.paths.roots_dir();
    let others = ".vserver-delete-big-1-0";
    [LEFT, others].iter().for_each(|name| closed(&parent.join(name)));
    let remove = || {
        let left = Leftovers::of(&parent, &web).unwrap();
        left.remove(&Interrupt::default(), &mut Progress::silent()).unwrap();
    };
    remove();
    assert_eq!(names(&parent), [others]);
    // Not before what it has put in place was taken back, or is gone.
    let (root, config) = (host.paths.root(&web), host.paths.config(&web));
    killed(made(&parent).place(&root, &config, true, false).unwrap());
    fs::write(&config, "").unwrap();
    remove();
    assert_eq!(names(&parent), [LEFT, others, "web"]);
    fs::remove_dir(&root).unwrap();
    remove();
    assert_eq!(names(&parent), [others]);
}

/// As long as it is only asked whether a guest could be made.
#[test]
fn what_is_left_is_in_nobodys_way_and_is_only_looked_at() {
    let (host, name) = (Host::new(), name());
    let (paths, target) = (&host.paths, host.paths.root(&name));
    let config = paths.config(&name);
    killed(made(&paths.roots_dir()).place(&target, &config, false, false).unwrap());
    let before = names(&paths.roots_dir());
    assert!(is_left(&target).unwrap());
    let site = Site {
        name,
        hostname: None,
        root: None,
        force: None,
        keep: false,
        store: Store::Directory,
        access: Access::default(),
        goes_on_inside: false,
        is_configured: false,
    };
    if rustix::process::geteuid().is_root() {
        refuse(&site, paths).unwrap();
    }
    assert_eq!(names(&paths.roots_dir()), before);
    assert!(!is_left(&paths.roots_dir().join("other")).unwrap());
    // A complete one is a guest.
    fs::write(&config, "").unwrap();
    assert!(!is_left(&target).unwrap());
    assert!(refuse(&site, paths).is_err());
}
