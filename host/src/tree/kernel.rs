//! File systems whose files are no files: the kernel's own view of itself.

use std::os::fd::AsFd;

use rustix::fs::{FsWord, fstatfs};
use rustix::io::Errno;

/// Their magic numbers (statfs(2), linux/magic.h). Reading there can have
/// effects and has no end that stat(2) would tell; a directory made there can
/// be a cgroup.
const MAGIC: [FsWord; 22] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x6e73_6673, // nsfs
    0x4249_4e4d, // binfmt_misc
    0x6573_5543, // fusectl
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x9584_58f6, // hugetlbfs
    0x6759_6969, // rpc_pipefs
    0x0187,      // autofs
    0x0765_5821, // resctrl
];

/// Does it lie in one of them?
///
/// # Errors
/// Those of fstatfs(2).
pub(super) fn owns(file: impl AsFd) -> Result<bool, Errno> {
    // Numbers with the highest bit set are negative where words are signed.
    Ok(MAGIC.contains(&(fstatfs(file)?.f_type & 0xffff_ffff)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn proc_is_one_and_a_directory_of_files_is_none() {
        assert_eq!(owns(File::open("/proc/self").unwrap()), Ok(true));
        assert_eq!(owns(File::open(env!("CARGO_MANIFEST_DIR")).unwrap()), Ok(false));
    }
}
