//! Maps: as long as a program or a descriptor holds them they are there.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::{address, by_id, call, info, open, padded};

/// Commands.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const MAP_NEXT_KEY: libc::c_int = 4;
const MAP_GET_FD_BY_ID: libc::c_int = 14;
const BTF_LOAD: libc::c_int = 18;

/// `BPF_MAP_TYPE_…`
const ARRAY: u32 = 2;
const HASH_OF_MAPS: u32 = 13;
const SOCKHASH: u32 = 18;
const SK_STORAGE: u32 = 24;

/// `BPF_F_NO_PREALLOC`: elements take memory when they are made.
const NO_PREALLOC: u32 = 1;

/// A description (kernel doc, "BPF Type Format") of one type, without which
/// the kernel makes no map of marks: the header, a number of 32 bits as type
/// 1, and no names.
const ONE_NUMBER: [u8; 41] = [
    0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0, // header
    0, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 32, 0, 0, 0, // BTF_KIND_INT, 4 bytes, 32 bits
    0,
];

/// The part of `union bpf_attr` that making a map takes.
#[repr(C)]
#[derive(Default)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    inner: u32,
    node: u32,
    name: [u8; 16],
    interface: u32,
    btf: u32,
    key_type: u32,
    value_type: u32,
}

/// The part that loading a description of types takes.
#[repr(C)]
struct LoadBtf {
    btf: u64,
    log: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    padding: u32,
}

/// The part that reading, setting and removing an element take.
#[repr(C)]
struct Element {
    map: RawFd,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
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
            name: padded(name),
            ..Create::default()
        };
        open(MAP_CREATE, &mut attributes).map(Self)
    }

    /// Opens the one with this id, if it has this name and size.
    ///
    /// # Errors
    /// ENOENT if there is none, or another has the id now; EPERM without
    /// CAP_SYS_ADMIN.
    pub fn open(id: u32, name: &str) -> io::Result<Self> {
        let map = Self(by_id(MAP_GET_FD_BY_ID, id)?);
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
        info(&self.0)
    }
}

impl<const N: usize> AsRawFd for Array<N> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// A map for programs that find sockets, or maps.
#[derive(Debug)]
pub struct Map(OwnedFd);

/// A key of a map of maps.
pub type Key = [u8; 16];

impl Map {
    /// Sockets by keys of so many bytes. One that is closed goes out of it.
    ///
    /// # Errors
    /// EPERM without CAP_BPF and CAP_NET_ADMIN.
    pub fn of_sockets(name: &str, key_size: u32, entries: u32) -> io::Result<Self> {
        let mut attributes = Create {
            map_type: SOCKHASH,
            key_size,
            value_size: size_of::<u32>() as u32,
            entries,
            name: padded(name),
            ..Create::default()
        };
        open(MAP_CREATE, &mut attributes).map(Self)
    }

    /// A number for each socket, which goes with it.
    ///
    /// # Errors
    /// EPERM without CAP_BPF.
    pub fn of_marks(name: &str) -> io::Result<Self> {
        let mut types = LoadBtf {
            btf: address(ONE_NUMBER.as_ptr()),
            log: 0,
            size: ONE_NUMBER.len() as u32,
            log_size: 0,
            log_level: 0,
            padding: 0,
        };
        let types = open(BTF_LOAD, &mut types)?;
        let mut attributes = Create {
            map_type: SK_STORAGE,
            key_size: size_of::<u32>() as u32,
            value_size: size_of::<u32>() as u32,
            flags: NO_PREALLOC,
            name: padded(name),
            btf: types.as_raw_fd().cast_unsigned(),
            key_type: 1,
            value_type: 1,
            ..Create::default()
        };
        open(MAP_CREATE, &mut attributes).map(Self)
    }

    /// Maps like this one by keys.
    ///
    /// # Errors
    /// EPERM without CAP_BPF.
    pub fn of_maps(name: &str, like: &impl AsRawFd, entries: u32) -> io::Result<Self> {
        let mut attributes = Create {
            map_type: HASH_OF_MAPS,
            key_size: size_of::<Key>() as u32,
            value_size: size_of::<u32>() as u32,
            entries,
            flags: NO_PREALLOC,
            inner: like.as_raw_fd().cast_unsigned(),
            name: padded(name),
            ..Create::default()
        };
        open(MAP_CREATE, &mut attributes).map(Self)
    }

    /// Opens the one with this id, if it has this name.
    ///
    /// # Errors
    /// ENOENT if there is none, or another has the id now; EPERM without
    /// CAP_SYS_ADMIN.
    pub fn open(id: u32, name: &str) -> io::Result<Self> {
        let map = Self(by_id(MAP_GET_FD_BY_ID, id)?);
        if map.info()?.name == padded(name) {
            Ok(map)
        } else {
            Err(io::Error::from_raw_os_error(libc::ENOENT))
        }
    }

    /// Its id, by which it can be opened while it is held.
    ///
    /// # Errors
    /// Those of bpf(2).
    pub fn id(&self) -> io::Result<u32> {
        self.info().map(|info| info.id)
    }

    /// The id of the map with this key, in a map of maps.
    ///
    /// # Errors
    /// ENOENT if there is none; EINVAL if this is no map of maps.
    pub fn get(&self, key: &Key) -> io::Result<u32> {
        self.is_of_maps()?;
        let mut value = 0_u32;
        call(MAP_LOOKUP, &mut self.element(key, address(&raw mut value)))?;
        Ok(value)
    }

    /// Gives a key this map, in a map of maps.
    ///
    /// # Errors
    /// E2BIG if it is full; EINVAL if this is no map of maps, or the other not
    /// like those in it.
    pub fn set(&self, key: &Key, to: &impl AsRawFd) -> io::Result<()> {
        self.is_of_maps()?;
        let value = to.as_raw_fd();
        call(MAP_UPDATE, &mut self.element(key, address(&raw const value))).map(drop)
    }

    /// Takes a key out of a map of maps.
    ///
    /// # Errors
    /// ENOENT if it isn't in it; EINVAL if this is no map of maps.
    pub fn remove(&self, key: &Key) -> io::Result<()> {
        self.is_of_maps()?;
        call(MAP_DELETE, &mut self.element(key, 0)).map(drop)
    }

    /// The keys that a map of maps has, as far as nobody else changes it
    /// meanwhile.
    ///
    /// # Errors
    /// EINVAL if this is no map of maps.
    pub fn keys(&self) -> io::Result<Vec<Key>> {
        let most = self.is_of_maps()?.entries as usize;
        let mut found = Vec::new();
        let mut last: Option<Key> = None;
        while found.len() < most {
            let mut next = Key::default();
            let to = address(next.as_mut_ptr());
            // Before the first one there is none.
            let from = last.as_ref().map_or(0, |key| address(key.as_ptr()));
            let mut element =
                Element { map: self.as_raw_fd(), padding: 0, key: from, value: to, flags: 0 };
            match call(MAP_NEXT_KEY, &mut element) {
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
                other => other?,
            };
            found.push(next);
            last = Some(next);
        }
        Ok(found)
    }

    /// The kernel reads and writes as many bytes as the map's keys and values
    /// have: those of a map of maps, with keys of this type.
    fn is_of_maps(&self) -> io::Result<Info> {
        let info = self.info()?;
        let fits = info.map_type == HASH_OF_MAPS && info.key_size == size_of::<Key>() as u32;
        if fits { Ok(info) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
    }

    fn element(&self, key: &Key, value: u64) -> Element {
        Element { map: self.as_raw_fd(), padding: 0, key: address(key.as_ptr()), value, flags: 0 }
    }

    fn info(&self) -> io::Result<Info> {
        info(&self.0)
    }
}

impl AsRawFd for Map {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
