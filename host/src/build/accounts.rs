//! Decides a copy's users and groups. Pure.
//!
//! Nothing of the host's accounts gets in but name, number, home and shell of
//! those system users that the chosen packages made for themselves. No
//! password, no comment, no membership, no person.

use std::fmt::Write;

/// Numbers below this one are for the system (Debian policy 9.2.2).
const FIRST_PERSON: u32 = 1000;

/// The group of Debian's `nobody`.
const NOBODY: u32 = 65534;

/// A line of passwd(5), without password and comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User number.
    pub uid: u32,
    /// Group number.
    pub gid: u32,
    home: String,
    shell: String,
}

/// A line of group(5), without password and members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
}

/// Reads passwd(5); lines that make no sense are left out.
pub fn parse_users(text: &str) -> Vec<User> {
    let user = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = fields.as_slice() else { return None };
        Some(User {
            name: is_name(name).then(|| (*name).to_owned())?,
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            home: (*home).to_owned(),
            shell: (*shell).to_owned(),
        })
    };
    text.lines().filter_map(user).collect()
}

/// Reads group(5); lines that make no sense are left out.
pub fn parse_groups(text: &str) -> Vec<Group> {
    let group = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| is_name(name))?.to_owned();
        Some(Group { name, gid: fields.nth(1)?.parse().ok()? })
    };
    text.lines().filter_map(group).collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A copy's users and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Accounts {
    /// Those of base-passwd's masters, and of the host's system ones those
    /// that `is_needed` (by name and number).
    pub fn new(
        master: (Vec<User>, Vec<Group>),
        host: (Vec<User>, Vec<Group>),
        needs_user: impl Fn(&User) -> bool,
        needs_group: impl Fn(&Group) -> bool,
    ) -> Self {
        let (mut users, mut groups) = master;
        for user in host.0 {
            let is_new = users.iter().all(|other| other.name != user.name && other.uid != user.uid);
            if is_new && (1..FIRST_PERSON).contains(&user.uid) && needs_user(&user) {
                users.push(user);
            }
        }
        for group in host.1 {
            let is_new =
                groups.iter().all(|other| other.name != group.name && other.gid != group.gid);
            let is_primary = users.iter().any(|user| user.gid == group.gid);
            let in_range = (1..FIRST_PERSON).contains(&group.gid) || group.gid == NOBODY;
            if is_new && in_range && (is_primary || needs_group(&group)) {
                groups.push(group);
            }
        }
        Self { users, groups }
    }

    /// The number of a group.
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|group| group.name == name).map(|group| group.gid)
    }

    /// `/etc/passwd`.
    pub fn passwd(&self) -> String {
        let mut text = String::new();
        for User { name, uid, gid, home, shell } in &self.users {
            let comment = if *uid == 0 { "root" } else { "" };
            let _ = writeln!(text, "{name}:x:{uid}:{gid}:{comment}:{home}:{shell}");
        }
        text
    }

    /// `/etc/shadow`: nobody has a password and root's is locked. `today` in
    /// days since 1970 is the date of the last change (shadow(5)).
    pub fn shadow(&self, today: u64) -> String {
        let mut text = String::new();
        for User { name, uid, .. } in &self.users {
            let password = if *uid == 0 { "!*" } else { "*" };
            let _ = writeln!(text, "{name}:{password}:{today}:0:99999:7:::");
        }
        text
    }

    /// `/etc/group`.
    pub fn group(&self) -> String {
        let mut text = String::new();
        for Group { name, gid } in &self.groups {
            let _ = writeln!(text, "{name}:x:{gid}:");
        }
        text
    }

    /// `/etc/gshadow`.
    pub fn gshadow(&self) -> String {
        let mut text = String::new();
        for Group { name, .. } in &self.groups {
            let _ = writeln!(text, "{name}:*::");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str =
        "root:*:0:0:root:/root:/bin/bash\ndaemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n";
    const HOST: &str = "root:$6$secret:0:0:Operator:/root:/bin/zsh\n\
        messagebus:x:100:102:Bus of Bob:/nonexistent:/usr/sbin/nologin\n\
        deploy:x:998:998:our own:/srv/deploy:/bin/bash\n\
        bob:x:1000:1000:Bob:/home/bob:/bin/bash\n\
        nonsense\n";

    fn accounts() -> Accounts {
        Accounts::new(
            (parse_users(MASTER), parse_groups("root:*:0:\ndaemon:*:1:\n")),
            (
                parse_users(HOST),
                parse_groups(
                    "messagebus:x:102:bob\ndeploy:x:998:\ncrontab:x:101:bob\nsudo2:x:90:bob\n",
                ),
            ),
            |user| user.name == "messagebus",
            |group| group.name == "crontab",
        )
    }

    #[test]
    fn only_needed_system_users_come_from_the_host() {
        let accounts = accounts();
        assert_eq!(
            accounts.passwd(),
            "root:x:0:0:root:/root:/bin/bash\n\
             daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n\
             messagebus:x:100:102::/nonexistent:/usr/sbin/nologin\n"
        );
        assert_eq!(accounts.group(), "root:x:0:\ndaemon:x:1:\nmessagebus:x:102:\ncrontab:x:101:\n");
        assert_eq!(accounts.gid("crontab"), Some(101));
    }

    #[test]
    fn nobody_has_a_password() {
        assert_eq!(
            accounts().shadow(20_000),
            "root:!*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\nmessagebus:*:20000:0:99999:7:::\n"
        );
        assert_eq!(accounts().gshadow(), "root:*::\ndaemon:*::\nmessagebus:*::\ncrontab:*::\n");
    }
}
