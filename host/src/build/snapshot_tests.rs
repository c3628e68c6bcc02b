//! Snapshots that are made, put back and removed.

use tempfile::TempDir;

use super::*;

/// A guest's files, and what they may lie in.
struct Scene {
    parent: TempDir,
    root: PathBuf,
    snapshots: Snapshots,
    one: SnapshotName,
}

impl Scene {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let root = parent.path().join("web");
        let snapshots = Snapshots::new(&"web".parse().unwrap(), Place::directory(&root));
        Self { parent, root, snapshots, one: "one".parse().unwrap() }
    }

    /// With a root that is a directory.
    fn with_root() -> Self {
        let scene = Self::new();
        fs::create_dir(&scene.root).unwrap();
        scene
    }

    fn create_if(&self, is_still: impl FnOnce() -> Result<()>) -> Result<String> {
        let (interrupt, progress) = (Interrupt::default(), Progress::silent());
        self.snapshots.create(&self.one, false, &interrupt, progress, is_still)
    }

    fn create(&self) {
        self.create_if(|| Ok(())).unwrap();
    }

    fn restore_and(&self, name: &SnapshotName, is_done: impl FnOnce()) -> Result<String> {
        let (interrupt, progress) = (Interrupt::default(), Progress::silent());
        self.snapshots.restore(name, &interrupt, progress, is_done)
    }

    fn restore(&self) -> Result<String> {
        self.restore_and(&self.one, || ())
    }

    fn delete(&self) -> Result<()> {
        self.snapshots.delete(&self.one)
    }

    #[track_caller]
    fn assert_nothing_is_left(&self) {
        assert_eq!(fs::read_dir(self.parent.path()).unwrap().count(), 1, "nothing is left");
    }
}

#[test]
fn what_a_link_leads_to_is_put_back() {
    let scene = Scene::new();
    let (root, far) = (&scene.root, scene.parent.path().join("far"));
    fs::create_dir_all(far.join("big")).unwrap();
    std::os::unix::fs::symlink("far/big", root).unwrap();
    fs::write(root.join("file"), "before").unwrap();
    scene.create();
    fs::write(root.join("file"), "after").unwrap();
    scene.restore().unwrap();
    assert_eq!(fs::read(far.join("big/file")).unwrap(), b"before");
    assert!(root.is_symlink());
    assert_eq!(fs::read_dir(&far).unwrap().count(), 1, "nothing is left");
}

#[test]
fn they_are_made_listed_put_back_and_removed() {
    let scene = Scene::with_root();
    let (root, snapshots, one) = (&scene.root, &scene.snapshots, &scene.one);
    fs::write(root.join("file"), "before").unwrap();
    scene.create_if(|| Err(Error::new("it moved"))).unwrap_err();
    scene.assert_nothing_is_left();
    scene.create();
    scene.create_if(|| Ok(())).unwrap_err();
    assert_eq!(snapshots.list().unwrap().len(), 1);
    fs::write(root.join("file"), "after").unwrap();
    fs::write(root.join("new"), "").unwrap();
    scene.restore().unwrap();
    assert_eq!(fs::read(root.join("file")).unwrap(), b"before");
    assert!(!root.join("new").exists());
    scene.restore_and(&"two".parse().unwrap(), || ()).unwrap_err();
    let description = snapshots.find(one).unwrap();
    let made = fs::read_to_string(&description).unwrap();
    let over = |text: &str, directory: &str| {
        fs::write(&description, text).unwrap();
        snapshots.over(directory.as_ref())
    };
    let overlay = "kind = \"overlay\"\nbase = \"/v/golden/v1\"";
    let based = made.replace("kind = \"directory\"", overlay);
    assert!(over(&made, "/v/golden").unwrap().is_none());
    assert!(over(&based, "/v/golden").unwrap().is_some());
    assert!(over(&based, "/v/gold").unwrap().is_none());
    // What can't be read isn't taken for what lies over nothing.
    over(&format!("{based} ="), "/v/golden").unwrap_err();
    assert!(over(&format!("{based} ="), "/v/web").unwrap().is_none());
    fs::write(&description, made).unwrap();
    scene.delete().unwrap();
    scene.delete().unwrap_err();
    scene.assert_nothing_is_left();
}

/// Others' may be many files; its own take the room that its copy needs.
#[test]
fn what_killed_ones_have_left_of_the_guest_goes_before_it_is_copied() {
    let scene = Scene::with_root();
    scene.create();
    let left = ["web", "big"].map(|name| format!(".vserver-build-{name}-1-0"));
    let left = left.map(|name| scene.parent.path().join(name));
    for left in &left {
        fs::create_dir(left).unwrap();
        fs::set_permissions(left, fs::Permissions::from_mode(0o700)).unwrap();
    }
    // It can't be copied.
    let stray = scene.snapshots.root(&scene.one);
    fs::remove_dir(&stray).unwrap();
    std::os::unix::net::UnixListener::bind(&stray).unwrap();
    scene.restore().unwrap_err();
    assert_eq!(left.map(|left| left.exists()), [false, true]);
}

#[test]
fn a_root_that_has_gone_is_put_back() {
    let scene = Scene::with_root();
    fs::write(scene.root.join("file"), "before").unwrap();
    scene.create();
    fs::remove_dir_all(&scene.root).unwrap();
    scene.restore().unwrap();
    assert_eq!(fs::read(scene.root.join("file")).unwrap(), b"before");
    scene.delete().unwrap();
    scene.assert_nothing_is_left();
}

#[test]
fn files_without_a_description_are_in_nobodys_way() {
    let scene = Scene::with_root();
    let (snapshots, stray) = (&scene.snapshots, scene.snapshots.root(&scene.one));
    let leave = || {
        fs::create_dir_all(&stray).unwrap();
        fs::write(stray.join("stray"), "").unwrap();
    };
    leave();
    assert!(snapshots.list().unwrap().is_empty());
    scene.create();
    assert!(!stray.join("stray").exists());
    assert_eq!(fs::read_dir(snapshots.directory()).unwrap().count(), 2);
    scene.delete().unwrap();
    leave();
    snapshots.delete_all().unwrap();
    scene.assert_nothing_is_left();
}

#[test]
fn one_whose_deletion_was_cut_short_is_told_and_deleted() {
    let scene = Scene::with_root();
    let (snapshots, one) = (&scene.snapshots, &scene.one);
    scene.create();
    assert!(snapshots.list().unwrap()[0].whole);
    fs::remove_dir(snapshots.root(one)).unwrap();
    assert!(!snapshots.list().unwrap()[0].whole);
    for refused in [scene.restore().map(drop), snapshots.files(one).map(drop)] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("its deletion was cut short"), "{error}");
    }
    scene.delete().unwrap();
    assert!(snapshots.list().unwrap().is_empty());
}
