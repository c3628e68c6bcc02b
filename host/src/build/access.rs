//! Who may log in to a new guest: root's password and ssh keys, if its builder
//! gives some.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::rand::{GetRandomFlags, getrandom};
use sha_crypt::{PasswordHasher, ShaCrypt};

use crate::error::{Error, Result};

use super::{Work, tidy};

/// Where OpenSSH looks for root's keys (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
const SSH: &str = "root/.ssh";
const KEYS: &str = "root/.ssh/authorized_keys";

const SHADOW: &str = "etc/shadow";

/// What lets root in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// root's password, as shadow(5) holds it.
    pub password: Option<String>,
    /// Lines of `authorized_keys`.
    pub ssh_keys: Vec<String>,
}

/// The form in which shadow(5) holds a password: SHA-512 (crypt(5), `$6$`),
/// which every libc of the last fifteen years knows.
///
/// # Errors
/// When it is empty or has several lines, or there is no randomness.
pub fn hash(password: &str) -> Result<String> {
    if password.is_empty() || password.contains(['\n', '\0']) {
        return Err(Error::usage("a password is one line and not empty"));
    }
    let failed =
        |cause: &dyn std::fmt::Display| Error::new(format!("cannot hash the password: {cause}"));
    // Sixteen characters when they are written: crypt(3) heeds no more, and gives
    // no more back, so that a longer salt would fit no password.
    let mut salt = [0; 12];
    getrandom(salt.as_mut_slice(), GetRandomFlags::empty()).map_err(|cause| failed(&cause))?;
    let hash = ShaCrypt::default().hash_password_with_salt(password.as_bytes(), &salt);
    let hash = hash.map_err(|cause| failed(&cause))?;
    Ok(hash.as_str().to_owned())
}

/// The lines of a public key file, as ssh-keygen(1) writes it.
///
/// # Errors
/// When there is none, or a line that is no public key.
pub fn keys(text: &str) -> Result<Vec<String>> {
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    // Options may precede the key itself.
    let is_key = |line: &String| {
        line.split_ascii_whitespace()
            .any(|word| ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| word.starts_with(kind)))
    };
    if lines.is_empty() || !lines.iter().all(is_key) {
        return Err(Error::usage("it holds no public key")
            .hint("it is a file such as '~/.ssh/id_ed25519.pub', not the private key beside it"));
    }
    Ok(lines)
}

/// Gives root of the new guest what lets it in.
pub(super) fn give(access: &Access, work: &mut Work<'_>) -> Result<()> {
    let root = work.root;
    if let Some(password) = &access.password {
        let stat = root.stat(SHADOW)?;
        let old = tidy::text(root, SHADOW)?;
        let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs() / 86_400);
        let (Some(stat), Some(new)) = (stat, with_password(&old, password, days)) else {
            return Err(Error::new(
                "root's password can't be set: the guest has no '/etc/shadow' with root",
            )
            .hint("give it '--ssh-key FILE', or enter it from the host: vserver enter NAME"));
        };
        root.write_for(Path::new(SHADOW), new.as_bytes(), stat.st_mode & 0o777, stat.st_gid)?;
    }
    if !access.ssh_keys.is_empty() {
        root.create_dir_all(SSH, 0o700)?;
        let old = tidy::text(root, KEYS)?;
        let mut lines: Vec<&str> = old.lines().collect();
        lines.extend(access.ssh_keys.iter().map(String::as_str));
        root.write(KEYS, (lines.join("\n") + "\n").as_bytes(), 0o600)?;
    }
    Ok(())
}

/// shadow(5) with a password of root's, changed today; `None` when root has no
/// line.
fn with_password(shadow: &str, password: &str, days: u64) -> Option<String> {
    let mut is_there = false;
    let line = |line: &str| {
        let Some(rest) = line.strip_prefix("root:") else { return format!("{line}\n") };
        is_there = true;
        let rest: Vec<&str> = rest.splitn(3, ':').collect();
        let rest = rest.get(2).copied().unwrap_or(":::::");
        format!("root:{password}:{days}:{rest}\n")
    };
    let text: String = shadow.lines().map(line).collect();
    is_there.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha_crypt::PasswordVerifier;

    #[test]
    fn a_password_is_hashed_with_salt() {
        let (one, two) = (hash("secret").unwrap(), hash("secret").unwrap());
        assert!(one.starts_with("$6$") && one != two && !one.contains(':'), "{one}");
        assert_eq!(one.split('$').nth(3).map(str::len), Some(16), "{one}");
        assert!(ShaCrypt::default().verify_password(b"secret", one.as_str()).is_ok());
        assert!(hash("").is_err() && hash("a\nb").is_err());
    }

    #[test]
    fn only_roots_line_changes() {
        let shadow = "bin:*:1::::::\nroot:!*:1:0:99999:7:::\n";
        let new = with_password(shadow, "$6$x", 20_000).unwrap();
        assert_eq!(new, "bin:*:1::::::\nroot:$6$x:20000:0:99999:7:::\n");
        assert_eq!(with_password("root:\n", "$6$x", 1).unwrap(), "root:$6$x:1::::::\n");
        assert_eq!(with_password("toor::1\n", "$6$x", 1), None);
    }

    #[test]
    fn keys_are_public_ones() {
        let text =
            "# mine\nssh-ed25519 AAAA me\n\nfrom=\"10.0.0.1\" sk-ssh-ed25519@openssh.com AAAA\n";
        assert_eq!(keys(text).unwrap().len(), 2);
        assert!(keys("").is_err());
        assert!(keys("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n").is_err());
    }
}
