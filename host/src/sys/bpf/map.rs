//! Maps of one element: numbers that programs count up, and that can be read
//! as long as a program or a descriptor holds them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{OBJ_GET_INFO_BY_FD, address, call, open};

/// Commands.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_GET_FD_BY_ID: libc::c_int = 14;

/// `BPF_MAP_TYPE_ARRAY`
const ARRAY: u32 = 2;

/// The part of `union bpf_attr` that making a map takes.
#[repr(C)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    inner: u32,
    node: u32,
    name: [u8; 16],
}

/// The part that reading an element takes.
#[repr(C)]
struct Element {
    map: RawFd,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The part that opening a map by its id takes.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

/// The part that asking about a map takes.
#[repr(C)]
struct Ask {
    map: RawFd,
    size: u32,
    info: u64,
}

/// `struct bpf_map_info` up to the name.
#[repr(C)]
#[derive(Default)]
struct Info {
    map_type: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    name: [u8; 16],
}

/// N numbers of 64 bits, which begin at 0.
#[derive(Debug)]
pub struct Array<const N: usize>(OwnedFd);

impl<const N: usize> Array<N> {
    const BYTES: u32 = (N * size_of::<u64>()) as u32;

    /// Makes one of this name, of which fifteen bytes count.
    ///
    /// # Errors
    /// EPERM without CAP_BPF.
    pub fn make(name: &str) -> io::Result<Self> {
        let mut attributes = Create {
            map_type: ARRAY,
            key_size: size_of::<u32>() as u32,
            value_size: Self::BYTES,
            entries: 1,
            flags: 0,
            inner: 0,
            node: 0,
            name: padded(name),
        };
        open(MAP_CREATE, &mut attributes).map(Self)
    }

    /// Opens the one with this id, if it has this name and size.
    ///
    /// # Errors
    /// ENOENT if there is none, or another has the id now; EPERM without
    /// CAP_SYS_ADMIN.
    pub fn open(id: u32, name: &str) -> io::Result<Self> {
        let map = Self(open(MAP_GET_FD_BY_ID, &mut ById { id, next: 0, flags: 0 })?);
        let info = map.info()?;
        let same = info.map_type == ARRAY
            && info.entries == 1
            && info.value_size == Self::BYTES
            && info.name == padded(name);
        if same { Ok(map) } else { Err(io::Error::from_raw_os_error(libc::ENOENT)) }
    }

    /// Its id, by which it can be opened while it is held.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn id(&self) -> io::Result<u32> {
        self.info().map(|info| info.id)
    }

    /// The numbers now.
    ///
    /// # Errors
    /// EPERM without CAP_BPF.
    pub fn read(&self) -> io::Result<[u64; N]> {
        let (key, mut value) = (0_u32, [0_u64; N]);
        // The kernel writes as many bytes as the map's values have: both ways
        // to make this type see to it that these are so many.
        let mut element = Element {
            map: self.0.as_raw_fd(),
            padding: 0,
            key: address(&raw const key),
            value: address(value.as_mut_ptr()),
            flags: 0,
        };
        call(MAP_LOOKUP, &mut element)?;
        Ok(value)
    }

    fn info(&self) -> io::Result<Info> {
        let mut info = Info::default();
        let mut ask = Ask {
            map: self.0.as_raw_fd(),
            size: size_of::<Info>() as u32,
            info: address(&raw mut info),
        };
        call(OBJ_GET_INFO_BY_FD, &mut ask)?;
        Ok(info)
    }
}

impl<const N: usize> AsRawFd for Array<N> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A name with at least one zero behind it.
fn padded(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}
