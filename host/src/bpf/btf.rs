//! Finds a function, or a member of a structure, in the kernel's own
//! description of its types (BTF).
//!
//! Of the format (kernel doc, "BPF Type Format") only as much is read as that
//! takes: crates for it build an index of all types first, which takes
//! longer than the rest of a guest's start.

/// Magic number of the format, in the machine's own byte order.
const MAGIC: u32 = 0x0000_eb9f;

/// `BTF_KIND_STRUCT`
const STRUCTURE: u32 = 4;

/// `BTF_KIND_FUNC`
const FUNCTION: u32 = 12;

/// The id of the function of this name; nothing if there is none, or what is
/// read isn't BTF as it is known.
pub fn function(btf: &[u8], name: &str) -> Option<u32> {
    let (mut types, strings) = sections(btf)?;
    let name = place(strings, name)?;
    types.find(|kind| kind.kind == FUNCTION && kind.name == name).map(|kind| kind.id)
}

/// Where in a structure this member of its own begins, in bits; nothing if
/// there is no such member.
pub fn member(btf: &[u8], structure: &str, member: &str) -> Option<u32> {
    let (types, strings) = sections(btf)?;
    let (structure, member) = (place(strings, structure)?, place(strings, member)?);
    let mut members = types
        .filter(|kind| kind.kind == STRUCTURE && kind.name == structure)
        .flat_map(|kind| kind.added.chunks_exact(12));
    // struct btf_member: the name's place, a type, an offset in bits; if some
    // member of the structure has its own number of bits, that in the upper 8.
    let found = members.find(|entry| word(entry, 0) == Some(member))?;
    Some(word(found, 8)? & 0x00ff_ffff)
}

/// The types, and the strings that name them.
fn sections(btf: &[u8]) -> Option<(Types<'_>, &[u8])> {
    // struct btf_header: magic, version, flags; the length of the header;
    // places and lengths of types and strings, from the header's end.
    if word(btf, 0)? & 0xffff != MAGIC {
        return None;
    }
    let header = at(btf, 4)?;
    let section = |start: usize| {
        let begin = header.checked_add(at(btf, start)?)?;
        btf.get(begin..begin.checked_add(at(btf, start + 4)?)?)
    };
    Some((Types { rest: section(8)?, id: 0 }, section(16)?))
}

/// One type.
struct Type<'a> {
    id: u32,
    kind: u32,
    name: u32,
    added: &'a [u8],
}

/// All types, up to one that isn't known.
struct Types<'a> {
    rest: &'a [u8],
    id: u32,
}

impl<'a> Iterator for Types<'a> {
    type Item = Type<'a>;

    fn next(&mut self) -> Option<Type<'a>> {
        // struct btf_type: the name's place, kind and number of members, a
        // size or a type; then what its kind adds.
        let (name, info) = (word(self.rest, 0)?, word(self.rest, 4)?);
        let kind = info >> 24 & 0x1f;
        let end = 12 + added(kind, (info & 0xffff) as usize)?;
        let added = self.rest.get(12..end)?;
        self.rest = &self.rest[end..];
        self.id += 1;
        Some(Type { id: self.id, kind, name, added })
    }
}

/// Bytes that follow a type of this kind with this many members.
fn added(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG.
        2 | 7..=12 | 16 | 18 => 0,
        // INT, VAR, DECL_TAG.
        1 | 14 | 17 => 4,
        // ARRAY.
        3 => 12,
        // ENUM, FUNC_PROTO.
        6 | 13 => 8 * members,
        // STRUCT, UNION, DATASEC, ENUM64.
        4 | 5 | 15 | 19 => 12 * members,
        _ => return None,
    })
}

/// Where a string starts; each is there once, with a zero behind it.
fn place(strings: &[u8], wanted: &str) -> Option<u32> {
    let mut start = 0;
    for string in strings.split(|byte| *byte == 0) {
        if string == wanted.as_bytes() {
            return u32::try_from(start).ok();
        }
        start += string.len() + 1;
    }
    None
}

fn word(bytes: &[u8], start: usize) -> Option<u32> {
    let bytes = bytes.get(start..start.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn at(bytes: &[u8], start: usize) -> Option<usize> {
    word(bytes, start).map(|word| word as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An integer 'int', a structure 'a' with a member 'int' and three bits
    /// 'b', functions 'b' and 'a'.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0a\0b\0";
        let types: Vec<u32> = [
            [1, 1 << 24, 4].as_slice(),
            &[32],
            &[5, 1 << 31 | 4 << 24 | 2, 20],
            &[1, 1, 64],
            &[7, 1, 3 << 24 | 99],
            &[7, 12 << 24, 1],
            &[5, 12 << 24, 1],
        ]
        .concat();
        let length = |length: usize| u32::try_from(length).unwrap();
        let header = [
            0x1_eb9f,
            24,
            0,
            length(4 * types.len()),
            length(4 * types.len()),
            length(strings.len()),
        ];
        let words = header.iter().chain(&types).flat_map(|word| word.to_ne_bytes());
        words.chain(strings.iter().copied()).collect()
    }

    #[test]
    fn members_are_found_by_their_structure() {
        let btf = sample();
        assert_eq!(member(&btf, "a", "int"), Some(64));
        assert_eq!(member(&btf, "a", "b"), Some(99));
        assert_eq!(member(&btf, "a", "none"), None);
        assert_eq!(member(&btf, "b", "int"), None, "a function");
    }

    #[test]
    fn functions_are_found_by_name() {
        let btf = sample();
        assert_eq!(function(&btf, "b"), Some(3));
        assert_eq!(function(&btf, "a"), Some(4), "not the structure of that name");
        assert_eq!(function(&btf, "int"), None);
        assert_eq!(function(&btf, "none"), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_without_panic(place in 0..200_usize, byte: u8, length in 0..200_usize) {
            let mut btf = sample();
            if let Some(at) = btf.get_mut(place) {
                *at = byte;
            }
            btf.truncate(length);
            let _ = function(&btf, "a");
        }
    }
}
