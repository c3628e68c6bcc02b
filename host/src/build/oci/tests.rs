//! Images made by hand, right ones and wrong ones.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::build::host_keys::Keys;
use crate::fsroot::RootDir;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

use super::*;

/// A layer, as names with their contents; a name ending in `/` is a
/// directory.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o755);
        header.set_uid(rustix::process::getuid().as_raw().into());
        header.set_gid(rustix::process::getgid().as_raw().into());
        if name.ends_with('/') {
            header.set_entry_type(tar::EntryType::Directory);
        }
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A layout directory that is being made.
struct Layout {
    directory: tempfile::TempDir,
}

impl Layout {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("layout/blobs/sha256")).unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn blob(&self, media: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        std::fs::write(self.path().join("blobs/sha256").join(&digest), bytes).unwrap();
        json!({"mediaType": media, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    fn configuration(layers: &[Vec<u8>]) -> Value {
        let sums: Vec<String> = layers.iter().map(|l| format!("sha256:{}", sha256(l))).collect();
        json!({
            "architecture": choose::architecture(), "os": "linux",
            "config": {"Env": ["LANG=C"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": sums},
        })
    }

    /// Adds an image of these layers; gives its descriptor.
    fn image(&self, layers: &[Vec<u8>], name: &str) -> Value {
        let configuration = Self::configuration(layers).to_string();
        let config =
            self.blob("application/vnd.oci.image.config.v1+json", configuration.as_bytes());
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| {
                let packed = zstd::encode_all(layer.as_slice(), 1).unwrap();
                self.blob("application/vnd.oci.image.layer.v1.tar+zstd", &packed)
            })
            .collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
        let mut manifest =
            self.blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        manifest
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        std::fs::write(self.path().join("index.json"), index.to_string()).unwrap();
    }

    fn lay(&self, tag: &str) -> Result<Settings> {
        let root = RootDir::open(&self.root()).unwrap();
        let (interrupt, mut progress) = (Interrupt::default(), Progress::silent());
        let mut remarks = Vec::new();
        let mut work = Work {
            root: &root,
            interrupt: &interrupt,
            progress: &mut progress,
            remarks: &mut remarks,
            keys: Keys::beside(root.path()),
        };
        let mut from = self.path().into_os_string();
        from.push(tag);
        fill(Path::new(&from), &mut work).map(|(_, settings)| settings)
    }

    /// What is in the root, sorted.
    fn found(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![self.root()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                found.push(path.strip_prefix(self.root()).unwrap().display().to_string());
                if path.symlink_metadata().unwrap().is_dir() {
                    left.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

#[test]
fn layers_remove_and_replace_what_is_below_them() {
    let layout = Layout::new();
    let layers = [
        layer(&[("etc/", ""), ("etc/a", "1"), ("etc/b", "1"), ("opt/x/old", "1"), ("d/e", "1")]),
        layer(&[
            ("etc/.wh.a", ""),
            ("etc/b", "2"),
            ("opt/x/new", "2"),
            ("opt/x/.wh..wh..opq", ""),
            ("d", "2"),
            ("gone/.wh.never", ""),
        ]),
    ];
    layout.index(&[layout.image(&layers, "x")]);
    let settings = layout.lay("").unwrap();
    assert_eq!(settings.environment.get("LANG").map(String::as_str), Some("C"));
    assert_eq!(layout.found(), ["d", "etc", "etc/b", "opt", "opt/x", "opt/x/new"]);
    assert_eq!(std::fs::read(layout.root().join("etc/b")).unwrap(), b"2");
    assert_eq!(std::fs::read(layout.root().join("d")).unwrap(), b"2");
}

#[test]
fn a_tag_chooses_among_images_also_through_an_index() {
    let layout = Layout::new();
    let [one, two] = ["1", "2"].map(|text| layout.image(&[layer(&[("etc/v", text)])], text));
    let inner = json!({"schemaVersion": 2, "manifests": [two]}).to_string();
    let mut inner = layout.blob("application/vnd.oci.image.index.v1+json", inner.as_bytes());
    inner["annotations"] = json!({"org.opencontainers.image.ref.name": "r/x:2"});
    layout.index(&[one, inner]);
    let error = layout.lay("").unwrap_err();
    assert!(error.to_string().contains("several"), "{error}");
    assert!(layout.lay(":3").is_err());
    layout.lay(":r/x:2").unwrap();
    assert_eq!(std::fs::read(layout.root().join("etc/v")).unwrap(), b"2");
}

#[test]
fn a_changed_blob_is_noticed() {
    for nth in 0..3 {
        let layout = Layout::new();
        layout.index(&[layout.image(&[layer(&[("etc/v", "1")])], "x")]);
        let blobs = std::fs::read_dir(layout.path().join("blobs/sha256")).unwrap();
        let mut blobs: Vec<PathBuf> = blobs.map(|blob| blob.unwrap().path()).collect();
        blobs.sort();
        let blob = &blobs[nth];
        let mut bytes = std::fs::read(blob).unwrap();
        // The last byte of a zstd frame is its content's, or its checksum's.
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(blob, bytes).unwrap();
        assert!(layout.lay("").is_err(), "blob {nth} was taken");
    }
}

#[test]
fn what_stands_behind_a_layer_counts_too() {
    let layout = Layout::new();
    let mut plain = layer(&[("etc/v", "1")]);
    let image = layout.image(std::slice::from_ref(&plain), "x");
    layout.index(&[image]);
    layout.lay("").unwrap();
    // The same entries, and other bytes behind the archive's end.
    let sum = sha256(&plain);
    plain.extend([0u8; 512]);
    assert_ne!(sha256(&plain), sum);
    let layout = Layout::new();
    let configuration = Layout::configuration(&[layer(&[("etc/v", "1")])]).to_string();
    let config = layout.blob("application/vnd.oci.image.config.v1+json", configuration.as_bytes());
    let packed = layout.blob("application/vnd.oci.image.layer.v1.tar", &plain);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [packed]}).to_string();
    let manifest = layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
    layout.index(&[manifest]);
    let error = layout.lay("").unwrap_err();
    assert!(error.to_string().contains("digest"), "{error}");
}

#[test]
fn no_layer_leads_outside() {
    for name in ["../x", "a/../../.wh.x", "../.wh..wh..opq"] {
        let layout = Layout::new();
        let mut bytes = layer(&[("etc/v", "1")]);
        // The crate's own setters refuse what we want to write.
        bytes[..100].fill(0);
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let mut header = tar::Header::from_byte_slice(&bytes[..512]).clone();
        header.set_cksum();
        bytes[..512].copy_from_slice(header.as_bytes());
        layout.index(&[layout.image(&[bytes], "x")]);
        let error = layout.lay("").unwrap_err();
        assert!(error.to_string().contains("leads outside"), "{error}");
    }
}

#[test]
fn digests_are_no_paths() {
    let layout = Layout::new();
    std::fs::write(layout.path().join("blobs/x"), "{}").unwrap();
    for digest in ["sha256:../x", "sha256:x", "md5:00000000000000000000000000000000"] {
        let media = "application/vnd.oci.image.manifest.v1+json";
        layout.index(&[json!({"mediaType": media, "digest": digest, "size": 2})]);
        assert!(layout.lay("").is_err(), "{digest} was taken");
    }
}

#[test]
fn an_archive_of_docker_is_taken_too() {
    docker(|sum| format!("{sum}.json"));
}

#[test]
fn an_archive_of_docker_may_name_digests_in_full() {
    docker(|sum| format!("sha256:{sum}"));
}

fn docker(called: impl Fn(&str) -> String) {
    let layout = Layout::new();
    let plain = layer(&[("etc/v", "1"), ("usr/f", "2")]);
    let configuration = Layout::configuration(std::slice::from_ref(&plain)).to_string();
    let config = called(&sha256(configuration.as_bytes()));
    let manifest = json!([{"Config": config, "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}]);
    let text = manifest.to_string();
    let files = [("manifest.json", text.as_bytes()), (&config, configuration.as_bytes())];
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in files.into_iter().chain([("l/layer.tar", plain.as_slice())]) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(rustix::process::getuid().as_raw().into());
        header.set_gid(rustix::process::getgid().as_raw().into());
        builder.append_data(&mut header, name, bytes).unwrap();
    }
    std::fs::remove_dir_all(layout.path()).unwrap();
    std::fs::write(layout.path(), builder.into_inner().unwrap()).unwrap();
    assert!(layout.lay(":2").is_err());
    layout.lay(":1").unwrap();
    assert_eq!(layout.found(), ["etc", "etc/v", "usr", "usr/f"]);
    assert_eq!(layout.root().join("etc/v").metadata().unwrap().nlink(), 1);
    assert!(!layout.directory.path().join("image").exists(), "the unpacked archive is left");
}
