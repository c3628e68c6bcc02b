//! Users of a guest, read from its own `/etc/passwd` and `/etc/group` by a
//! process that has joined the guest, so that the paths are the guest's.
//!
//! The C library's functions are not used: in a static program they would
//! load the guest's libraries.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

/// A user as a session needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name; the number where there is none.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: String,
    /// Login shell; empty for none.
    pub shell: String,
}

impl Account {
    /// The same where there are ids below `count` only (user_namespaces(7)): groups beyond
    /// are none that it can have.
    ///
    /// # Errors
    /// The account as it is, where it would have to be another one.
    pub fn below(mut self, count: u32) -> Result<Self, Self> {
        if self.uid >= count || self.gid >= count {
            return Err(self);
        }
        self.groups.retain(|group| *group < count);
        Ok(self)
    }

    /// As root, whatever the guest's files say of that.
    pub fn into_root(self) -> Self {
        Self { uid: 0, gid: 0, groups: vec![0], ..self }
    }
}

/// A file longer than this is read in part; no real one is.
const LIMIT: u64 = 16 << 20;

/// Groups that a process can have (setgroups(2), `NGROUPS_MAX`).
const MAX_GROUPS: usize = 65_536;

/// The user of this name or number, as the guest's files say. root exists
/// also where they don't say so, and any number where no name has it, with
/// the group of the same number.
pub fn find(user: &str) -> Option<Account> {
    choose(user, &read("/etc/passwd"), &read("/etc/group"))
}

/// Reads a regular file. The guest may have put anything there, also what
/// would keep open(2) waiting: a FIFO, or a file with a lease on it.
fn read(path: &str) -> String {
    let mut text = Vec::new();
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    if let Ok(file) = opened
        && file.metadata().is_ok_and(|meta| meta.is_file())
    {
        let _ = file.take(LIMIT).read_to_end(&mut text);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// passwd(5) and group(5).
fn choose(user: &str, passwd: &str, group: &str) -> Option<Account> {
    let number = id(user);
    let mut account = passwd
        .lines()
        .filter_map(entry)
        .find(|account| account.name == user)
        .or_else(|| passwd.lines().filter_map(entry).find(|entry| Some(entry.uid) == number))
        .or_else(|| {
            let uid = number.or((user == "root").then_some(0))?;
            let home = if uid == 0 { "/root" } else { "/" };
            Some(Account {
                name: user.to_owned(),
                uid,
                gid: uid,
                groups: Vec::new(),
                home: home.to_owned(),
                shell: String::new(),
            })
        })?;
    account.groups = vec![account.gid];
    for line in group.lines() {
        let fields: Vec<&str> = line.splitn(5, ':').collect();
        if account.groups.len() == MAX_GROUPS {
            break;
        }
        if let [_, _, gid, members] = fields[..]
            && members.split(',').any(|member| member == account.name)
            && let Some(gid) = id(gid)
            && !account.groups.contains(&gid)
        {
            account.groups.push(gid);
        }
    }
    Some(account)
}

/// Names and numbers of the users of an `/etc/passwd`, in its order.
pub fn users(passwd: &str) -> Vec<(String, u32)> {
    passwd.lines().filter_map(entry).map(|account| (account.name, account.uid)).collect()
}

/// The last number is nobody's: to the kernel it means no change (setresuid(2)).
fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id != u32::MAX)
}

fn entry(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.splitn(8, ':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
    Some(Account {
        name: name.to_owned(),
        uid: id(uid)?,
        gid: id(gid)?,
        groups: Vec::new(),
        home: home.to_owned(),
        shell: shell.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
                          www:x:33:33:www:/var/www:/usr/sbin/nologin\nbroken:x\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\nssl:x:110:www,mail\nadm:x:4:www\n";

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let by_name = choose("www", PASSWD, GROUP).unwrap();
        assert_eq!((by_name.uid, by_name.gid), (33, 33));
        assert_eq!(by_name.groups, [33, 110, 4]);
        assert_eq!(choose("33", PASSWD, GROUP), Some(by_name));
        assert_eq!(choose("nobody", PASSWD, GROUP), None);
    }

    #[test]
    fn lines_that_make_no_sense_name_no_user() {
        assert_eq!(users(PASSWD), [("root".to_owned(), 0), ("www".to_owned(), 33)]);
        assert!(users("a:x:-1:0::/:/bin/sh\n:::::\nb:x:4294967296:0::/:").is_empty());
        assert!(users("a:x:4294967295:0::/:\nb:x:0:4294967295::/:").is_empty());
        assert_eq!(choose("4294967295", PASSWD, GROUP), None);
    }

    #[test]
    fn root_needs_no_file() {
        let root = choose("root", "", "").unwrap();
        assert_eq!((root.uid, root.gid, root.home.as_str()), (0, 0, "/root"));
        assert_eq!(choose("1234", PASSWD, GROUP).unwrap().gid, 1234);
    }

    #[test]
    fn ids_that_a_guest_does_not_have_are_left_out() {
        let found = |passwd: &str| {
            choose("root", passwd, "x:x:70000:root\nadm:x:4:root\nlast:x:65535:root\n").unwrap()
        };
        let root = found(PASSWD);
        assert_eq!(root.groups, [0, 70_000, 4, 65_535]);
        assert_eq!(root.below(65_536).unwrap().groups, [0, 4, 65_535]);
        for passwd in ["root:x:70000:0::/home:/bin/sh", "root:x:0:65536::/home:/bin/sh"] {
            let other = found(passwd).below(65_536).unwrap_err().into_root();
            assert_eq!(
                (other.uid, other.gid, &*other.groups, &*other.home),
                (0, 0, &[0][..], "/home")
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(user in ".{0,20}", passwd in "\\PC{0,400}", group in "\\PC{0,400}") {
            let _ = choose(&user, &passwd, &group);
            let _ = users(&passwd);
        }
    }
}
