//! How its administrator gets into a new guest: root's password and ssh keys.
//!
//! What is given is judged before anything is built, and only the password's
//! hash is kept. `$6$` (crypt(5)) is what every C library understands that a
//! guest may have.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::rand::{GetRandomFlags, getrandom};
use sha_crypt::{PasswordHasher, ShaCrypt};

use crate::error::{Error, Result};
use crate::fsroot::RootDir;

use super::tidy::LONGEST;

/// root's own directory (hier(7)).
const SSH: &str = "root/.ssh";

/// What the kinds of public keys begin with (sshd(8), "AUTHORIZED_KEYS").
const KINDS: [&str; 3] = ["ssh-", "ecdsa-sha2-", "sk-"];

/// What opens a new guest to its administrator; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// crypt(5)'s hash of root's password.
    hash: Option<String>,
    /// The lines of root's `authorized_keys`.
    keys: String,
}

impl Access {
    /// With this password for root.
    ///
    /// # Errors
    /// When nobody could type it, or there are no random numbers.
    pub fn password(mut self, password: &str) -> Result<Self> {
        if password.is_empty() || password.contains(char::is_control) {
            return Err(Error::usage("root's password is empty or holds control characters"));
        }
        let failed =
            |cause: &dyn fmt::Display| Error::new(format!("cannot hash root's password: {cause}"));
        // Sixteen characters when they are written: crypt(3) heeds no more, and
        // gives no more back, so that nothing would equal a hash with more.
        let mut salt = [0; 12];
        getrandom(salt.as_mut_slice(), GetRandomFlags::empty()).map_err(|cause| failed(&cause))?;
        let hash = ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), &salt);
        let hash = hash.map_err(|cause| failed(&cause))?;
        self.hash = Some(hash.as_str().to_owned());
        Ok(self)
    }

    /// Also with the public keys in this text, that of a `.pub` file or of
    /// `authorized_keys`.
    ///
    /// # Errors
    /// When it holds no key, or one that nobody should see.
    pub fn key(mut self, text: &str) -> Result<Self> {
        if text.contains("PRIVATE KEY-----") {
            return Err(Error::usage("it holds a private key")
                .hint("give the public one, whose file is called '.pub'"));
        }
        // Options may stand in front of a key.
        let is_key = |line: &str| {
            let is_kind = |word: &str| KINDS.iter().any(|kind| word.starts_with(kind));
            !line.trim_start().starts_with('#') && line.split_whitespace().any(is_kind)
        };
        if !text.lines().any(is_key) || text.contains('\0') {
            return Err(Error::usage("it holds no public ssh key"));
        }
        self.keys.push_str(text.trim_end());
        self.keys.push('\n');
        Ok(self)
    }

    /// Opens the guest with this root.
    ///
    /// # Errors
    /// When it has no account of root's, or a file can't be written.
    pub(super) fn grant(&self, root: &RootDir) -> Result<()> {
        if let Some(hash) = &self.hash {
            set_password(root, hash)?;
        }
        if self.keys.is_empty() {
            return Ok(());
        }
        // Whoever made the files may have put anything there.
        let is_there = root.stat(SSH)?;
        if is_there.is_some_and(|stat| !super::kind_of(&stat).is_dir()) {
            root.remove(SSH)?;
        }
        root.create_dir_all("root", 0o700)?;
        root.create_dir_all(SSH, 0o700)?;
        let failed = |cause| root.error("set the permissions of", SSH.as_ref(), cause);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = root.open_at(SSH.as_ref(), flags, Mode::empty()).map_err(failed)?;
        rustix::fs::fchown(&directory, Some(Uid::ROOT), Some(Gid::ROOT)).map_err(failed)?;
        rustix::fs::fchmod(&directory, Mode::RWXU).map_err(failed)?;
        // Keys that came with the files are somebody else's.
        root.write(format!("{SSH}/authorized_keys"), self.keys.as_bytes(), 0o600)
    }
}

fn set_password(root: &RootDir, hash: &str) -> Result<()> {
    let text = |file: &str| -> Result<String> {
        let bytes = root.read(file, LONGEST)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let passwd = shadowed(&text("etc/passwd")?).ok_or_else(|| {
        Error::new("root can't get a password: these files have no account of root's")
            .hint("leave '--root-password' and '--root-password-file' out")
    })?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let shadow = with_hash(&text("etc/shadow")?, hash, seconds / 86_400);
    for (file, text, mode) in [("etc/passwd", passwd, 0o644), ("etc/shadow", shadow, 0o600)] {
        let stat = root.stat(file)?;
        let (mode, group) = stat.map_or((mode, 0), |stat| (stat.st_mode & 0o777, stat.st_gid));
        root.write_for(file, text.as_bytes(), mode, group)?;
    }
    Ok(())
}

/// passwd(5) with root's password in shadow(5); `None` without root.
fn shadowed(passwd: &str) -> Option<String> {
    let mut found = false;
    let line = |line: &str| {
        let rest = line.strip_prefix("root:").and_then(|rest| rest.split_once(':'));
        let Some((_, rest)) = rest else { return format!("{line}\n") };
        found = true;
        format!("root:x:{rest}\n")
    };
    let text = passwd.lines().map(line).collect();
    found.then_some(text)
}

/// shadow(5) with this hash as root's, changed `today` (in days since 1970).
fn with_hash(shadow: &str, hash: &str, today: u64) -> String {
    let mut found = false;
    let line = |line: &str| {
        let rest = line.strip_prefix("root:").map(|rest| rest.splitn(3, ':').nth(2));
        let Some(rest) = rest else { return format!("{line}\n") };
        found = true;
        format!("root:{hash}:{today}:{}\n", rest.unwrap_or("0:99999:7:::"))
    };
    let text: String = shadow.lines().map(line).collect();
    if found { text } else { format!("root:{hash}:{today}:0:99999:7:::\n{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn root_gets_the_hash_and_nobody_else() {
        let old = "bin:*:1::::::\nroot:!*:19000:0:99999:7:::\nrooty:*:1::::::\n";
        let new = "bin:*:1::::::\nroot:H:20000:0:99999:7:::\nrooty:*:1::::::\n";
        assert_eq!(with_hash(old, "H", 20_000), new);
        assert_eq!(with_hash("", "H", 1), "root:H:1:0:99999:7:::\n");
        assert_eq!(with_hash("root:*", "H", 1), "root:H:1:0:99999:7:::\n");
    }

    #[test]
    fn an_open_root_is_shadowed_and_a_missing_one_told() {
        let old = "root::0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh";
        let new = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n";
        assert_eq!(shadowed(old).as_deref(), Some(new));
        assert_eq!(shadowed("user:x:1000:1000::/:/bin/sh\n"), None);
    }

    #[test]
    fn a_password_becomes_a_hash_with_its_own_salt() {
        let hash = || Access::default().password("secret").unwrap().hash.unwrap();
        assert!(hash().starts_with("$6$") && !hash().contains(':'));
        assert_eq!(hash().split('$').nth(3).map(str::len), Some(16), "{}", hash());
        assert_ne!(hash(), hash());
        for bad in ["", "a\nb"] {
            assert!(Access::default().password(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn public_keys_are_told_from_everything_else() {
        for good in ["ssh-ed25519 AAAA me\n", "from=\"10.0.0.1\" ssh-rsa AAAA", "# a\nsk-x A b"] {
            assert!(Access::default().key(good).is_ok(), "{good:?} was refused");
        }
        let private = "-----BEGIN OPENSSH PRIVATE KEY-----\nssh-ed25519\n";
        for bad in ["", "hello\n", "# ssh-rsa AAAA\n", private] {
            assert!(Access::default().key(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    #[ignore = "root: files are given to root"]
    fn somebody_elses_keys_dont_stay() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join(SSH)).unwrap();
        let file = directory.path().join(SSH).join("authorized_keys");
        std::fs::write(&file, "ssh-rsa SOMEBODY").unwrap();
        let root = RootDir::open(directory.path()).unwrap();
        let access = Access::default().key("ssh-rsa A").unwrap().key("ssh-rsa B").unwrap();
        access.grant(&root).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "ssh-rsa A\nssh-rsa B\n");
    }

    proptest! {
        #[test]
        fn no_line_is_lost(text in "(root|bin|:|\\*|\\n|1){0,30}") {
            let others = |text: &str| {
                let lines = text.lines().filter(|line| !line.starts_with("root:"));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            let new = with_hash(&text, "H", 1);
            prop_assert_eq!(others(&new), others(&text));
            prop_assert!(new.lines().any(|line| line.starts_with("root:H:1:")));
        }
    }
}
