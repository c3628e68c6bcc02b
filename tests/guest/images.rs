//! Guests from a cpio archive and from images of the Open Container
//! Initiative, which are made here as the specification says, digests by
//! sha256sum(1).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tests::{DEADLINE, Finished, Host, Tree, command, eventually};

on! { Busybox: [
    a_cpio_archive_boots,
    an_image_layout_boots,
    an_image_archive_boots,
    an_image_without_an_init_is_its_command,
    an_image_of_s6_overlays_boots_by_its_init,
    a_damaged_image_leaves_nothing,
] }

fn shell(line: &str, words: &[&Path]) -> Finished {
    command::run(Command::new("sh").args(["-ec", line, "sh"]).args(words), DEADLINE).ok()
}

fn build(host: &Host, method: &str, from: &str) -> Finished {
    host.vserver(["build", "web", "--method", method, "--from", from])
}

#[track_caller]
fn boots(host: &Host) {
    host.vserver(["start", "web"]).ok();
    host.vserver(["exec", "web", "--", "cat", "/etc/os-release"])
        .ok()
        .says("ID=busybox\nNAME=\"busybox\"\n");
    host.vserver(["stop", "web", "--no-kill"]).ok();
}

fn a_cpio_archive_boots(tree: Tree) {
    let host = Host::new();
    let archive = host.prefix().join("tree.cpio.gz");
    let pack = "mkdir $2.d; cd $2.d; tar --numeric-owner -xpf $1
        find . | busybox cpio -o -H newc | gzip -1 >$2";
    shell(pack, &[&tree.archive(), &archive]);
    build(&host, "template", &archive.to_string_lossy()).ok();
    boots(&host);
}

/// An image's layout that is being made.
struct Image(PathBuf);

impl Image {
    /// With the tree as one layer, and one that changes it on top; called
    /// `1`.
    fn new(host: &Host, tree: Tree) -> Self {
        Self::of(host, tree, "", json!({}))
    }

    /// The same with more in the second layer's directory, `$1.d`, and in the
    /// configuration.
    fn of(host: &Host, tree: Tree, more: &str, mut config: Value) -> Self {
        let image = Self(host.prefix().join("image"));
        fs::create_dir_all(image.0.join("blobs/sha256")).expect("a directory can be made");
        let second = host.prefix().join("second.tar");
        // Of a link to a file of the layer below tools write the link only; what is in a
        // directory that hides all below it may stand before the sign of it.
        let pack = "mkdir -p $1.d/srv $1.d/home $1.d/etc/init.d $1.d/root
            echo two >$1.d/srv/two; : >$1.d/home/.wh.user
            cp $1.d/srv/two $1.d/etc/os-release; ln $1.d/etc/os-release $1.d/etc/release
            echo one >$1.d/etc/init.d/rcK; chmod 755 $1.d/etc/init.d/rcK; : >$1.d/etc/init.d/.wh..wh..opq
            : >$1.d/root/mine; chown 1000:1000 $1.d/root/mine; setcap cap_net_raw=ep $1.d/root/mine";
        let tar = "tar --xattrs --xattrs-include=* -C $1.d -cf $1 --exclude=./etc/*release .
            tar -C $1.d -rf $1 ./etc/os-release ./etc/release
            tar -f $1 --delete ./etc/os-release";
        shell(&format!("{pack}; {more}\n{tar}"), &[&second]);
        let tree = image.layer(&tree.archive(), "gzip -1c $1 >$2", "layer.v1.tar+gzip");
        let second = image.layer(&second, "zstd -q -1 -c $1 >$2", "layer.v1.tar+zstd");
        let (layers, sums): (Vec<Value>, Vec<String>) = [tree, second].into_iter().unzip();
        config["Env"] = json!(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "COLOUR=green"]);
        let configuration = json!({
            "architecture": "amd64", "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": sums},
        });
        let configuration = image.document("config", &configuration);
        let manifest = json!({"schemaVersion": 2, "config": configuration, "layers": layers});
        let mut manifest = image.document("manifest", &manifest);
        manifest["platform"] = json!({"os": "linux", "architecture": "amd64"});
        manifest["annotations"] = json!({"com.example.built": "2026-11-30"});
        // Another machine's, and how the image was made, as buildx has it, aren't here.
        let others = [("linux", "arm64"), ("unknown", "unknown")].map(|(os, architecture)| {
            let mut other = manifest.clone();
            other["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
            other["platform"] = json!({"os": os, "architecture": architecture, "variant": "v8"});
            other
        });
        let [arm, proof] = others;
        let index = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [arm, manifest, proof]});
        let mut inner = image.document("index", &index);
        inner["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
        let index = json!({"schemaVersion": 2, "manifests": [inner]});
        fs::write(image.0.join("index.json"), index.to_string()).expect("it can be written");
        fs::write(image.0.join("oci-layout"), "{\"imageLayoutVersion\": \"1.0.0\"}")
            .expect("so can it");
        image
    }

    /// A compressed layer; its descriptor, and the digest of what is in it.
    fn layer(&self, tar: &Path, pack: &str, kind: &str) -> (Value, String) {
        let packed = self.0.join("packed");
        shell(pack, &[tar, &packed]);
        (self.blob(kind, &packed), format!("sha256:{}", sha256(tar)))
    }

    fn document(&self, kind: &str, text: &Value) -> Value {
        let file = self.0.join("document");
        fs::write(&file, text.to_string()).expect("it can be written");
        self.blob(&format!("{kind}.v1+json"), &file)
    }

    /// Moves a file to its digest; its descriptor.
    fn blob(&self, kind: &str, file: &Path) -> Value {
        let size = fs::metadata(file).expect("it is there").len();
        let digest = sha256(file);
        fs::rename(file, self.0.join("blobs/sha256").join(&digest)).expect("it can be moved");
        let media = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": media, "digest": format!("sha256:{digest}"), "size": size})
    }
}

fn sha256(file: &Path) -> String {
    let sum = command::run(Command::new("sha256sum").arg(file), DEADLINE).ok().stdout;
    sum.split(' ').next().unwrap_or_default().to_owned()
}

/// Both layers count, and so do the image's variables.
#[track_caller]
fn is_the_image(host: &Host) {
    let root = host.paths().roots_dir().join("web");
    assert_eq!(fs::read_to_string(root.join("srv/two")).expect("it is there"), "two\n");
    assert!(!root.join("home/user").exists(), "the second layer has removed it");
    let names = fs::read_dir(root.join("etc/init.d")).expect("it is there");
    let names: Vec<_> = names.flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["rcK"], "the second layer hides what was there");
    let file = |path: &str| fs::metadata(root.join(path)).expect("it is there");
    assert_eq!(file("etc/release").ino(), file("etc/os-release").ino());
    assert_eq!(file("root/mine").uid(), 1000);
    command::run(Command::new("getcap").arg(root.join("root/mine")), DEADLINE)
        .ok()
        .says(&format!("{} cap_net_raw=ep\n", root.join("root/mine").display()));
    let shown = host.vserver(["config", "show", "web"]).ok();
    assert!(shown.stdout.contains("COLOUR = \"green\""), "{shown}");
    boots(host);
}

fn an_image_layout_boots(tree: Tree) {
    let host = Host::new();
    let image = Image::new(&host, tree);
    let path = image.0.to_string_lossy().into_owned();
    build(&host, "oci", &format!("{path}:2")).code(1);
    host.vserver(["status", "web"]).code(5);
    build(&host, "oci", &format!("{path}:1")).ok();
    is_the_image(&host);
}

fn an_image_archive_boots(tree: Tree) {
    let host = Host::new();
    let image = Image::new(&host, tree);
    let archive = host.prefix().join("image.tar.zst");
    shell("tar -C $1 -c . | zstd -q -1 >$2", &[&image.0, &archive]);
    build(&host, "oci", &archive.to_string_lossy()).ok();
    is_the_image(&host);
}

fn an_image_without_an_init_is_its_command(tree: Tree) {
    let host = Host::new();
    let more = "mkdir $1.d/sbin $1.d/bin; : >$1.d/sbin/.wh.init; : >$1.d/etc/.wh.inittab
        cat >$1.d/bin/server <<'END'
#!/bin/sh
trap 'echo $COLOUR >/srv/stopped; exit' TERM
echo \"$*\" >/srv/serving
while :; do sleep 1; done
END
        chmod 755 $1.d/bin/server";
    let config = json!({"Entrypoint": ["server"], "Cmd": ["all", "day long"]});
    let image = Image::of(&host, tree, more, config);
    build(&host, "oci", &image.0.to_string_lossy())
        .ok()
        .complains("its command 'server all day long' is the whole guest");
    let root = host.paths().roots_dir().join("web");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    host.vserver(["start", "web"]).ok();
    eventually(DEADLINE, "it serves", || (read("srv/serving") == "all day long\n").then_some(()));
    host.vserver(["stop", "web", "--no-kill"]).ok();
    assert_eq!(read("srv/stopped"), "green\n");
}

/// As s6-overlay is laid over Alpine: `/init` has to be PID 1, and gets the command's
/// words; a script stands for it. Busybox's init and inittab are the image's too.
fn an_image_of_s6_overlays_boots_by_its_init(tree: Tree) {
    let host = Host::new();
    let more = "cat >$1.d/init <<'END'
#!/bin/sh -e
# s6-overlay-suexec: fatal: can only run as pid 1
test $$ = 1
s6-supervise &
trap 'echo down >/srv/stopped; exit' TERM
echo \"$*\" >/srv/serving
while :; do sleep 1; done
END
        mkdir $1.d/bin; printf '#!/bin/sh\nsleep 1000\n' >$1.d/bin/s6-supervise
        chmod 755 $1.d/init $1.d/bin/s6-supervise";
    let image = Image::of(&host, tree, more, json!({"Entrypoint": ["/init"], "Cmd": ["all day"]}));
    let built = build(&host, "oci", &image.0.to_string_lossy()).ok();
    built.complains("made to be booted by it: its command '/init all day' is the whole guest");
    let root = host.paths().roots_dir().join("web");
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let is_s6 = |reason: &str| {
        let status = host.vserver(["status", "web"]).ok().stdout;
        assert!(status.contains(&format!("init ({reason})")), "{status}");
        host.vserver(["stop", "web", "--no-kill"]).ok();
    };
    host.vserver(["start", "web"]).ok();
    assert_eq!(read("srv/serving"), "all day\n");
    is_s6("the configuration names s6-overlay's /init");
    assert_eq!(read("srv/stopped"), "down\n");
    // Its files alone, as by `docker export`.
    for path in ["sbin/init", "etc/inittab"] {
        fs::remove_file(root.join(path)).expect("it is there");
    }
    host.vserver(["config", "unset", "web", "boot.command"]).ok();
    host.vserver(["start", "web"]).ok();
    assert_eq!(read("srv/serving"), "\n");
    is_s6("/init is s6, '/init'");
}

fn a_damaged_image_leaves_nothing(tree: Tree) {
    let host = Host::new();
    let image = Image::new(&host, tree);
    // The last byte of every layer.
    let damage = "for blob in $1/blobs/sha256/*; do
        case $(head -c 2 $blob | od -An -tx1) in *1f*8b*|*28*b5*) printf x >>$blob;; esac; done";
    shell(damage, &[&image.0]);
    build(&host, "oci", &image.0.to_string_lossy()).code(1).complains("cannot use the image");
    let roots = fs::read_dir(host.paths().roots_dir()).expect("it is there").count();
    assert_eq!(roots, 0, "something is left");
    host.vserver(["status", "web"]).code(5);
}
