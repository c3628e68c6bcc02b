//! The headers of one member: ustar (pax(1)), and before it what that has no
//! room for. Pure.

use std::io;

use tar_core::EntryType;
use tar_core::builder::EntryBuilder;

/// How pax archives mark extended attributes (star(1)).
const XATTR: &str = "SCHILY.xattr.";

/// The key of an attribute. A key ends with the first `=`: one in a name is written
/// as GNU tar and star(1) do.
fn key(name: &str) -> String {
    format!("{XATTR}{}", name.replace('%', "%25").replace('=', "%3D"))
}

/// The name of the attribute that a key stands for, if it does.
pub fn attribute(key: &str) -> Option<String> {
    let name = key.strip_prefix(XATTR)?;
    // What has become `%` begins nothing any more.
    Some(name.replace("%3D", "=").replace("%25", "%"))
}

/// One member of an archive.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// Its name; directories end with a slash.
    pub name: &'a [u8],
    pub kind: EntryType,
    pub mode: u32,
    pub user: u32,
    pub group: u32,
    /// Seconds since 1970, and nanoseconds.
    pub modified: (i64, u64),
    /// Of its bytes in the archive.
    pub size: u64,
    /// Where a link leads.
    pub link: &'a [u8],
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes, with their values.
    pub attributes: Vec<(String, Vec<u8>)>,
    /// The length of a file whose holes are left out.
    pub sparse: Option<u64>,
}

impl Default for Member<'_> {
    fn default() -> Self {
        Self {
            name: b"",
            kind: EntryType::Regular,
            mode: 0o600,
            user: 0,
            group: 0,
            modified: (0, 0),
            size: 0,
            link: b"",
            device: (0, 0),
            attributes: Vec::new(),
            sparse: None,
        }
    }
}

impl Member<'_> {
    /// All that precedes its bytes, in blocks.
    ///
    /// # Errors
    /// When a number has no place anywhere.
    pub(super) fn headers(&self) -> io::Result<Vec<u8>> {
        let mut entry = EntryBuilder::new_ustar();
        entry.entry_type(self.kind).link_name(self.link);
        let (seconds, nanoseconds) = self.modified;
        entry
            .mode(self.mode & 0o7777)
            .and_then(|entry| entry.uid(self.user.into()))
            .and_then(|entry| entry.gid(self.group.into()))
            .and_then(|entry| entry.size(self.size))
            .and_then(|entry| entry.mtime(seconds.try_into().unwrap_or(0)))
            .map_err(io::Error::other)?;
        if matches!(self.kind, EntryType::Char | EntryType::Block) {
            entry.device(self.device.0, self.device.1).map_err(io::Error::other)?;
        }
        match self.sparse {
            // The map is part of the content (GNU tar's manual, "PAX Format,
            // Version 1.0").
            Some(length) => entry
                .path(b"GNUSparseFile.0")
                .add_pax("GNU.sparse.major", b"1")
                .add_pax("GNU.sparse.minor", b"0")
                .add_pax("GNU.sparse.name", self.name)
                .add_pax("GNU.sparse.realsize", length.to_string()),
            None => entry.path(self.name),
        };
        // Readers differ in what a fraction before 1970 means.
        if seconds < 0 {
            entry.add_pax("mtime", seconds.to_string());
        } else if nanoseconds > 0 {
            entry.add_pax("mtime", format!("{seconds}.{nanoseconds:09}"));
        }
        for (name, value) in &self.attributes {
            entry.add_pax(&key(name), value);
        }
        Ok(entry.finish_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tar_core::PaxExtensions;
    use tar_core::parse::{ParseEvent, Parser};

    /// Name, link, modification time, attributes and length, as they are read.
    type Read = (Vec<u8>, Vec<u8>, Option<String>, Vec<(String, Vec<u8>)>, u64);

    fn read_back(member: &Member<'_>) -> Read {
        let bytes = member.headers().unwrap();
        let mut parser = Parser::with_defaults();
        let ParseEvent::Entry { consumed, entry } = parser.parse(&bytes).unwrap() else {
            panic!("no entry");
        };
        assert_eq!(consumed, bytes.len());
        let pax = || PaxExtensions::new(entry.pax.unwrap_or_default());
        let found = pax().map(Result::unwrap).filter_map(|extension| {
            let name = attribute(extension.key().unwrap())?;
            Some((name, extension.value_bytes().to_vec()))
        });
        (
            entry.path.into_owned(),
            entry.link_target.map(Vec::from).unwrap_or_default(),
            pax().get("mtime").map(str::to_owned),
            found.collect(),
            entry.size,
        )
    }

    proptest! {
        #[test]
        fn anything_comes_through(
            name in proptest::collection::vec(1u8.., 1..300),
            link in proptest::collection::vec(1u8.., 1..300),
            attribute in "user\\.[a%=235D.\n]{0,20}",
            value in proptest::collection::vec(any::<u8>(), 1..100),
            size: u64,
        ) {
            let size = size >> 1;
            let attributes = vec![(attribute, value)];
            let (kind, had) = (EntryType::Symlink, attributes.clone());
            let member = Member { name: &name, link: &link, kind, size, attributes, ..Member::default() };
            prop_assert_eq!(read_back(&member), (name, link, None, had, size));
        }
    }

    #[test]
    fn attributes_have_the_keys_that_tar_knows() {
        assert_eq!(key("user.a=b%"), "SCHILY.xattr.user.a%3Db%25");
        assert_eq!(attribute("SCHILY.xattr.user.%253D").as_deref(), Some("user.%3D"));
        assert_eq!(attribute("mtime"), None);
    }

    #[test]
    fn times_have_what_they_need() {
        let time = |modified| read_back(&Member { name: b"a", modified, ..Member::default() }).2;
        assert_eq!(time((5, 0)), None);
        assert_eq!(time((5, 70)).as_deref(), Some("5.000000070"));
    }
}
