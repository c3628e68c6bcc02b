//! `/etc/fstab` of a tree that was a machine's. Pure.
//!
//! Its file systems were on disks that no guest has, and a guest's own is the host's to
//! check. Where the file asks for a check (fstab(5), the sixth field), boot scripts of
//! Debian's sysvinit look for the disk, don't find it, and wait in a maintenance shell
//! (`checkroot.sh`, `checkfs.sh`), in front of which nobody sits.

/// The text with no file system checked at boot; `None` where none is.
pub(super) fn unchecked(text: &str) -> Option<String> {
    let lines: Vec<_> = text.split_inclusive('\n').map(unchecked_line).collect();
    lines.iter().any(Option::is_some).then(|| {
        let all = text.split_inclusive('\n').zip(lines);
        all.map(|(old, new)| new.unwrap_or_else(|| old.to_owned())).collect()
    })
}

fn unchecked_line(line: &str) -> Option<String> {
    let mut fields = line.split_ascii_whitespace();
    let is_comment = fields.clone().next()?.starts_with('#');
    let pass = fields.nth(5).filter(|pass| !is_comment && *pass != "0")?;
    // Where it stands: both are of the same text.
    let start = pass.as_ptr().addr() - line.as_ptr().addr();
    Some(format!("{}0{}", &line[..start], &line[start + pass.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_checked_at_boot_is_no_longer() {
        let old = "# <file system> <mount point> <type> <options> <dump> <pass>\n\
                   UUID=1-2  /  ext4\terrors=remount-ro 0\t1 # root\n\
                   /dev/sda2 /home xfs defaults 1 2\n\
                   /dev/sda3 none swap sw 0 0\ntmpfs /tmp tmpfs\n\n#/dev/x /x ext4 defaults 0 2";
        let new = "# <file system> <mount point> <type> <options> <dump> <pass>\n\
                   UUID=1-2  /  ext4\terrors=remount-ro 0\t0 # root\n\
                   /dev/sda2 /home xfs defaults 1 0\n\
                   /dev/sda3 none swap sw 0 0\ntmpfs /tmp tmpfs\n\n#/dev/x /x ext4 defaults 0 2";
        assert_eq!(unchecked(old).as_deref(), Some(new));
        assert_eq!(unchecked(new), None);
        assert_eq!(unchecked(""), None);
    }

    proptest! {
        #[test]
        fn nothing_else_changes(text in "([a/#]|0|1| |\t|\n){0,60}") {
            let Some(new) = unchecked(&text) else { return Ok(()) };
            prop_assert_eq!(unchecked(&new), None);
            let fields = |text: &str| -> Vec<Vec<String>> {
                let line = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect();
                text.lines().map(line).collect()
            };
            for (old, new) in fields(&text).into_iter().zip(fields(&new)) {
                prop_assert_eq!(old.len(), new.len());
                for (at, (old, new)) in old.into_iter().zip(new).enumerate() {
                    prop_assert!(old == new || at == 5 && new == "0");
                }
            }
        }
    }
}
