//! `[mounts]`: what a guest sees besides its own files.

use core::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `[mounts]`: directories of the host's in a guest, and memory as files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mounts {
    /// Directories and files of the host's.
    pub bind: Vec<Bind>,
    /// File systems in memory, empty at each start.
    pub tmpfs: Vec<Tmpfs>,
}

/// A line of `mounts.bind`: `SOURCE[:TARGET[:OPTIONS]]`, as with `--bind=` of
/// systemd-nspawn(1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bind {
    /// A directory or file on the host.
    pub source: PathBuf,
    /// Where it is in the guest, without the leading slash.
    pub target: String,
    /// `ro`: it can't be written to.
    pub read_only: bool,
    /// Not `noidmap`: files have the owners inside that they have on the disk.
    pub idmap: bool,
    /// `noexec`: nothing in it is executed.
    pub no_exec: bool,
    /// `rbind`: with what is mounted below it on the host.
    pub recursive: bool,
    /// `optional`: it may be missing.
    pub optional: bool,
}

/// A line of `mounts.tmpfs`: `TARGET[:OPTIONS]`, options as in tmpfs(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tmpfs {
    /// Where it is in the guest, without the leading slash.
    pub target: String,
    /// The most it takes, as tmpfs(5) writes it: bytes, with k, m or g, or a
    /// share of the memory.
    pub size: String,
    /// Permissions of its root directory, octal.
    pub mode: String,
    /// `noexec`: nothing in it is executed.
    pub no_exec: bool,
}

/// The system's own; nothing else has a place there.
const OWN: [&str; 3] = ["dev", "proc", "sys"];

/// What a tmpfs has when its line doesn't say; the default of tmpfs(5) is half
/// of the host's memory.
const SIZE: &str = "10%";
const MODE: &str = "0755";

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut fields = text.splitn(3, ':');
        let source = fields.next().unwrap_or_default();
        let target = fields.next().unwrap_or(source);
        let wrong = |why: &str| {
            let shown = text.escape_debug();
            format!("{why}, like \"/srv/data:/var/data:ro\", not \"{shown}\"")
        };
        if !is_plain(source) {
            return Err(wrong("a source is an absolute path without '..'"));
        }
        let mut bind = Self {
            source: PathBuf::from(source),
            target: place(target).map_err(wrong)?,
            read_only: false,
            idmap: true,
            no_exec: false,
            recursive: false,
            optional: false,
        };
        for option in fields.next().into_iter().flat_map(|options| options.split(',')) {
            match option {
                "ro" => bind.read_only = true,
                "noidmap" => bind.idmap = false,
                "noexec" => bind.no_exec = true,
                "rbind" => bind.recursive = true,
                "optional" => bind.optional = true,
                _ => {
                    return Err(wrong(
                        "options are of ro, noexec, noidmap, rbind and optional, with commas",
                    ));
                }
            }
        }
        Ok(bind)
    }
}

impl FromStr for Tmpfs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (target, options) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
        let wrong = |why: &str| {
            let shown = text.escape_debug();
            format!("{why}, like \"/tmp:size=200M,mode=1777\", not \"{shown}\"")
        };
        let mut tmpfs = Self {
            target: place(target).map_err(wrong)?,
            size: SIZE.to_owned(),
            mode: MODE.to_owned(),
            no_exec: false,
        };
        for option in options.into_iter().flat_map(|options| options.split(',')) {
            match option.split_once('=').unwrap_or((option, "")) {
                ("size", size) if is_size(size) => size.clone_into(&mut tmpfs.size),
                ("mode", mode) if is_mode(mode) => mode.clone_into(&mut tmpfs.mode),
                ("noexec", "") => tmpfs.no_exec = true,
                _ => return Err(wrong("options are of size=, mode= and noexec, with commas")),
            }
        }
        Ok(tmpfs)
    }
}

/// An absolute path, nothing in which is anything else than it seems?
fn is_plain(path: &str) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    path.starts_with('/')
        && !path.contains(char::is_control)
        && Path::new(path).components().all(plain)
        && !path.split('/').any(|part| part == ".")
}

/// A target below the guest's root.
fn place(target: &str) -> Result<String, &'static str> {
    if !is_plain(target) {
        return Err("a target is an absolute path without '..'");
    }
    let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty()).collect();
    match parts.first() {
        None => Err("a target is below the guest's root"),
        Some(first) if OWN.contains(first) => Err("a target isn't below /dev, /proc or /sys"),
        Some(_) => Ok(parts.join("/")),
    }
}

fn is_size(text: &str) -> bool {
    let digits = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G', '%']).unwrap_or(text);
    digits.parse::<u64>().is_ok_and(|size| size > 0)
        && (!text.ends_with('%') || digits.parse::<u64>().is_ok_and(|share| share <= 100))
}

fn is_mode(text: &str) -> bool {
    u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777)
}

macro_rules! written {
    ($($kind:ident),*) => {$(
        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(line: $kind) -> Self {
                line.to_string()
            }
        }
    )*};
}

written!(Bind, Tmpfs);

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:/{}", self.source.display(), self.target)?;
        let options = [
            ("ro", self.read_only),
            ("noexec", self.no_exec),
            ("noidmap", !self.idmap),
            ("rbind", self.recursive),
            ("optional", self.optional),
        ];
        let options: Vec<&str> =
            options.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect();
        if options.is_empty() { Ok(()) } else { write!(f, ":{}", options.join(",")) }
    }
}

impl fmt::Display for Tmpfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let no_exec = if self.no_exec { ",noexec" } else { "" };
        write!(f, "/{}:size={},mode={}{no_exec}", self.target, self.size, self.mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_say_what_goes_where() {
        let bind: Bind = "/srv/data".parse().unwrap();
        assert_eq!(bind.to_string(), "/srv/data:/srv/data");
        assert!(bind.idmap && !bind.read_only);
        let bind: Bind = "/srv/www:/var//www/:ro,noexec,noidmap,rbind,optional".parse().unwrap();
        assert_eq!(bind.to_string(), "/srv/www:/var/www:ro,noexec,noidmap,rbind,optional");
        let tmpfs: Tmpfs = "/tmp:mode=1777".parse().unwrap();
        assert_eq!(tmpfs.to_string(), "/tmp:size=10%,mode=1777");
        assert_eq!("/a/b:size=5M,noexec".parse::<Tmpfs>().unwrap().target, "a/b");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "",
            "srv",
            "/a:b",
            "/../a",
            "/a/../b",
            "/a:/",
            "/a:/proc/x",
            "/a:/sys",
            "/a:/dev/x",
            "/a:/b:rw",
            "/a:/b:ro,",
            "/a:/b:ro:x",
            "/a:/./b",
            "/proc",
        ] {
            assert!(wrong.parse::<Bind>().is_err(), "{wrong}");
        }
        for wrong in [
            "",
            "/",
            "tmp",
            "/tmp:size=0",
            "/tmp:size=x",
            "/tmp:size=101%",
            "/tmp:mode=8",
            "/tmp:uid=0",
            "/dev/shm",
        ] {
            assert!(wrong.parse::<Tmpfs>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "(/[a-c.]{0,3}){1,4}(:(/[a-c]{0,3}){1,3}(:(ro|noexec|rbind))?)?") {
            if let Ok(bind) = text.parse::<Bind>() {
                prop_assert_eq!(bind.to_string().parse::<Bind>(), Ok(bind.clone()));
                prop_assert!(!bind.target.is_empty() && !bind.target.split('/').any(|part| part == ".." || part.is_empty()));
            }
        }
    }
}
