//! POSIX access lists (acl(5)), from the text that tar(1) writes and the
//! binary form that the kernel has (linux/posix_acl_xattr.h). Pure.

use super::shift::NOBODY;

/// Who is meant by an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The file's own owner or group, the mask, others.
    Nobody,
    /// This number.
    Id(u32),
    /// A name, to be looked up in the guest's own files.
    Name(String),
}

/// One item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    tag: u16,
    permissions: u16,
    who: Who,
}

/// A list.
pub(crate) type List = Vec<Item>;

const VERSION: u32 = 2;
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;
const UNDEFINED: u32 = u32::MAX;

/// No file system has room for more.
const MOST: usize = 4096;

/// So many bytes a list takes in memory.
pub(super) fn size(list: &[Item]) -> usize {
    let names = list.iter().map(|item| match &item.who {
        Who::Name(name) => name.len(),
        Who::Id(_) | Who::Nobody => 0,
    });
    size_of_val(list) + names.sum::<usize>()
}

/// Reads the text form; `None` when it makes no sense.
pub(super) fn parse(text: &str) -> Option<List> {
    let lines = text.split([',', '\n']).map(|line| line.split('#').next().unwrap_or("").trim());
    lines.filter(|line| !line.is_empty()).take(MOST).map(item).collect()
}

fn item(line: &str) -> Option<Item> {
    let mut fields = line.split(':').map(str::trim);
    let (kind, name, letters) = (fields.next()?, fields.next()?, fields.next()?);
    let number = fields.next().and_then(|id| id.parse().ok());
    let tag = match (kind, name.is_empty()) {
        ("user" | "u", true) => 0x01,
        ("user" | "u", false) => USER,
        ("group" | "g", true) => 0x04,
        ("group" | "g", false) => GROUP,
        ("mask" | "m", true) => 0x10,
        ("other" | "o", true) => 0x20,
        _ => return None,
    };
    let who = match (name, number.or_else(|| name.parse().ok())) {
        ("", _) => Who::Nobody,
        (_, Some(id)) => Who::Id(id),
        (name, None) => Who::Name(name.to_owned()),
    };
    let permissions = letters.chars().try_fold(0, |sum, letter| match letter {
        'r' => Some(sum | 4),
        'w' => Some(sum | 2),
        'x' => Some(sum | 1),
        '-' => Some(sum),
        _ => None,
    })?;
    Some(Item { tag, permissions, who })
}

/// Reads the kernel's form; `None` when it makes no sense.
pub(crate) fn decode(bytes: &[u8]) -> Option<List> {
    let (version, items) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != VERSION || items.len() % 8 != 0 {
        return None;
    }
    let item = |bytes: &[u8]| {
        let half = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let tag = half(0)?;
        let id = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
        let who = if matches!(tag, USER | GROUP) { Who::Id(id) } else { Who::Nobody };
        Some(Item { tag, permissions: half(2)?, who })
    };
    items.chunks(8).take(MOST).map(item).collect()
}

/// The kernel's form, with each number as `user` or `group` say; `None` when
/// they know one of them not.
pub(crate) fn encode(
    list: &[Item],
    user: impl Fn(&Who) -> Option<u32>,
    group: impl Fn(&Who) -> Option<u32>,
) -> Option<Vec<u8>> {
    let mut items = Vec::new();
    for item in list {
        let id = match item.tag {
            USER => user(&item.who)?,
            GROUP => group(&item.who)?,
            _ => UNDEFINED,
        };
        items.push((item.tag, id, item.permissions));
    }
    // The kernel refuses another order.
    items.sort_unstable();
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in items {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    Some(bytes)
}

/// The number that an item has inside, where nobody has those of others.
pub(crate) fn number(who: &Who, inside: impl Fn(u64) -> Option<u32>) -> Option<u32> {
    match who {
        Who::Id(id) => Some(inside(u64::from(*id)).unwrap_or(NOBODY)),
        Who::Name(_) | Who::Nobody => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn known(who: &Who) -> Option<u32> {
        match who {
            Who::Id(id) => Some(*id),
            Who::Name(name) => (name == "www-data").then_some(33),
            Who::Nobody => None,
        }
    }

    #[test]
    fn text_becomes_what_the_kernel_takes() {
        let list = parse("user::rw-,user:www-data:r--,group::r--,mask::r--,other::---").unwrap();
        let bytes = encode(&list, known, known).unwrap();
        let items = [(1u16, 6u16, UNDEFINED), (2, 4, 33), (4, 4, UNDEFINED)];
        let mut expected = vec![2, 0, 0, 0];
        for (tag, permissions, id) in
            items.into_iter().chain([(16, 4, UNDEFINED), (32, 0, UNDEFINED)])
        {
            expected.extend(tag.to_le_bytes());
            expected.extend(permissions.to_le_bytes());
            expected.extend(id.to_le_bytes());
        }
        assert_eq!(bytes, expected);
        assert_eq!(encode(&decode(&bytes).unwrap(), known, known).unwrap(), bytes);
    }

    #[test]
    fn a_number_beside_the_name_counts_and_an_unknown_name_does_not() {
        let list = parse("user::rwx\nuser:bob:r-x:1000\t#effective:r--\ngroup::r-x\n").unwrap();
        assert_eq!(list[1].who, Who::Id(1000));
        let list = parse("user:bob:rwx").unwrap();
        assert_eq!(encode(&list, known, known), None);
        assert_eq!(parse("nonsense"), None);
        assert_eq!(parse("user::rwq"), None);
    }

    proptest! {
        #[test]
        fn no_text_and_no_bytes_do_harm(text in ".{0,60}", bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&text).map(|list| encode(&list, known, known));
            let _ = decode(&bytes).map(|list| encode(&list, known, known));
        }
    }
}
