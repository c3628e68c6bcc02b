//! `[storage]`: as what a guest's files lie on the host.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `[storage]`: what is at the path of the guest's root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// What it is.
    pub kind: StorageKind,
    /// With `overlay`: the directory that it lies over.
    pub base: Option<PathBuf>,
}

/// What is at the path of a guest's root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageKind {
    /// The root directory; on btrfs it may be a subvolume.
    #[default]
    Directory,
    /// A directory with what differs from a base, which others may share.
    Overlay,
    /// A file with a file system of its own.
    Image,
}

impl StorageKind {
    /// The word in configurations and `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Overlay => "overlay",
            Self::Image => "image",
        }
    }
}

/// Where a guest's files are, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path of its root.
    pub root: PathBuf,
    /// What is there.
    pub files: Files,
}

/// As what files lie there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Files {
    /// As they are.
    Directory,
    /// In a file system of their own.
    Image,
    /// As far as they differ from this directory.
    Overlay {
        /// Nobody writes to it.
        base: PathBuf,
    },
}

impl Files {
    /// What a configuration says.
    pub fn of(storage: &Storage) -> Self {
        match storage.kind {
            StorageKind::Directory => Self::Directory,
            StorageKind::Image => Self::Image,
            StorageKind::Overlay => {
                Self::Overlay { base: storage.base.clone().unwrap_or_default() }
            }
        }
    }
}

impl Place {
    /// A directory with all files.
    pub fn directory(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), files: Files::Directory }
    }

    /// What a configuration says of the place at this path.
    pub fn new(root: PathBuf, storage: &Storage) -> Self {
        Self { root, files: Files::of(storage) }
    }

    /// What says so in a configuration.
    pub fn storage(&self) -> Storage {
        let (kind, base) = match &self.files {
            Files::Directory => (StorageKind::Directory, None),
            Files::Image => (StorageKind::Image, None),
            Files::Overlay { base } => (StorageKind::Overlay, Some(base.clone())),
        };
        Storage { kind, base }
    }

    /// The directory that it lies over.
    pub fn base(&self) -> Option<&Path> {
        match &self.files {
            Files::Overlay { base } => Some(base),
            Files::Directory | Files::Image => None,
        }
    }
}

/// Could this text, which can't be read as TOML or has other mistakes, name a
/// base at or below this directory?
pub(super) fn mentions(text: &str, directory: &Path) -> bool {
    directory.to_str().is_none_or(|directory| text.contains(directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mentioned_could_be_meant() {
        let text = "storage.base = \"/v/.snapshots/golden/v1\\nkind = ";
        assert!(mentions(text, "/v/.snapshots/golden".as_ref()));
        assert!(!mentions(text, "/v/web".as_ref()));
    }

    #[test]
    fn a_place_says_what_it_was_made_of() {
        for (kind, base) in [
            (StorageKind::Directory, None),
            (StorageKind::Image, None),
            (StorageKind::Overlay, Some("/base".into())),
        ] {
            let storage = Storage { kind, base };
            assert_eq!(Place::new("/r".into(), &storage).storage(), storage);
        }
    }
}
