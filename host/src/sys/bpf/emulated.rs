//! Functions of the kernel's for programs that tests run without it
//! (bpf-helpers(7)). What they go by, and what they were asked for, is the
//! calling thread's [`Scene`].

use std::cell::RefCell;
use std::net::Ipv6Addr;
use std::ops::Range;

/// A socket that is bound; an IPv4 address is in IPv6 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// TCP, or UDP?
    pub is_tcp: bool,
    /// Where.
    pub ip: Ipv6Addr,
    /// Its port.
    pub port: u16,
}

/// What is there, and what a program has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The packet that is loaded from.
    pub packet: Vec<u8>,
    /// Sockets that a search finds.
    pub sockets: Vec<Socket>,
    /// Keys of maps, each with the map that it is in.
    pub keys: Vec<(u64, Vec<u8>)>,
    /// What the system call answers.
    pub answer: i64,
    /// What the socket was bound to (struct sockaddr).
    pub bound: Option<Vec<u8>>,
    /// Sockets that were found and not given back.
    pub held: u32,
    /// Has the socket a mark?
    pub is_marked: bool,
    /// Words of the kernel's memory.
    pub words: Vec<(u64, u32)>,
    /// The cgroups that the calling process is in, below the root.
    pub cgroups: Vec<u64>,
    /// Do maps in others hold a number each, not sockets?
    pub has_numbers: bool,
    /// Was a socket chosen for the packet?
    pub is_assigned: bool,
}

/// Number of the map that [`find`] gives from every other one.
pub const INNER: u64 = 0x1000;

/// What programs read and write beside their context.
struct Memory {
    /// `struct bpf_sock` of what was found last.
    socket: [u8; 80],
    /// The mark of the socket in the context.
    mark: [u8; 8],
}

thread_local! {
    static SCENE: RefCell<Scene> = RefCell::default();
    static MEMORY: RefCell<Box<Memory>> =
        RefCell::new(Box::new(Memory { socket: [0; 80], mark: [0; 8] }));
}

/// Begins with this.
pub fn begin(scene: Scene) {
    SCENE.set(scene);
    MEMORY.with_borrow_mut(|memory| memory.mark = [0; 8]);
}

/// What has become of it, and the mark that the socket has.
pub fn end() -> (Scene, u64) {
    (SCENE.take(), MEMORY.with_borrow(|memory| u64::from_ne_bytes(memory.mark)))
}

/// Memory that programs of this thread may use: as they get it from functions, and the packet.
pub fn memory() -> [Range<u64>; 3] {
    let packet = SCENE.with_borrow(|scene| scene.packet.as_ptr_range());
    MEMORY.with_borrow(|memory| {
        [memory.socket.as_ptr_range(), memory.mark.as_ptr_range(), packet]
            .map(|range| range.start as u64..range.end as u64)
    })
}

/// Bytes that a program under test has put somewhere.
fn bytes(at: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    // SAFETY: `at` is on the program's stack, with the length that it gives or
    // that the function takes.
    unsafe { std::ptr::copy_nonoverlapping(at as *const u8, bytes.as_mut_ptr(), bytes.len()) };
    bytes
}

/// `bpf_skb_load_bytes`
pub fn load_bytes(_: u64, from: u64, to: u64, length: u64, _: u64) -> u64 {
    SCENE.with_borrow(|scene| {
        let (from, length) = (from as usize, length as usize);
        let Some(bytes) = scene.packet.get(from..from + length) else { return u64::MAX };
        // SAFETY: `to` is where a program under test wants it: on its
        // stack, with room for the length that it gives.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, length) };
        0
    })
}

/// `bpf_set_retval`
pub fn set_answer(answer: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    SCENE.with_borrow_mut(|scene| scene.answer = answer.cast_signed());
    0
}

/// `bpf_bind`
pub fn bind(_: u64, address: u64, length: u64, _: u64, _: u64) -> u64 {
    SCENE.with_borrow_mut(|scene| scene.bound = Some(bytes(address, length)));
    0
}

/// `bpf_sk_lookup_tcp`
pub fn look_up_tcp(_: u64, tuple: u64, length: u64, _: u64, _: u64) -> u64 {
    look_up(true, &bytes(tuple, length))
}

/// `bpf_sk_lookup_udp`
pub fn look_up_udp(_: u64, tuple: u64, length: u64, _: u64, _: u64) -> u64 {
    look_up(false, &bytes(tuple, length))
}

/// Who is at the destination of a `struct bpf_sock_tuple`; any address is the
/// second best.
fn look_up(is_tcp: bool, tuple: &[u8]) -> u64 {
    let (ip, any, port) = match *tuple {
        [_, _, _, _, a, b, c, d, _, _, high, low] => {
            let ip = std::net::Ipv4Addr::new(a, b, c, d).to_ipv6_mapped();
            let any = std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped();
            (ip, any, [high, low])
        }
        _ => {
            let ip: [u8; 16] = tuple[16..32].try_into().expect("an address");
            (Ipv6Addr::from(ip), Ipv6Addr::UNSPECIFIED, [tuple[34], tuple[35]])
        }
    };
    let port = u16::from_be_bytes(port);
    SCENE.with_borrow_mut(|scene| {
        let at = |ip| scene.sockets.contains(&Socket { is_tcp, ip, port });
        let Some(found) = [ip, any].into_iter().find(|ip| at(*ip)) else { return 0 };
        scene.held += 1;
        MEMORY.with_borrow_mut(|memory| {
            let octets = found.octets();
            memory.socket[28..44].copy_from_slice(&octets);
            memory.socket[24..28].copy_from_slice(&octets[12..]);
            memory.socket.as_ptr() as u64
        })
    })
}

/// `bpf_sk_release`
pub fn release(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    SCENE.with_borrow_mut(|scene| scene.held -= 1);
    0
}

/// `bpf_sk_storage_get`
pub fn mark(_: u64, _: u64, _: u64, flags: u64, _: u64) -> u64 {
    SCENE.with_borrow_mut(|scene| {
        scene.is_marked |= flags == 1;
        if !scene.is_marked {
            return 0;
        }
        MEMORY.with_borrow_mut(|memory| memory.mark.as_mut_ptr() as u64)
    })
}

/// `bpf_sk_storage_delete`
pub fn unmark(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    SCENE.with_borrow_mut(|scene| scene.is_marked = false);
    0
}

/// `bpf_map_lookup_elem`: in a map of maps the inner one, else a socket.
pub fn find(map: u64, key: u64, _: u64, _: u64, _: u64) -> u64 {
    let is_inner = map == INNER;
    if is_inner && SCENE.with_borrow(|scene| scene.has_numbers) {
        return MEMORY.with_borrow_mut(|memory| memory.mark.as_mut_ptr() as u64);
    }
    let key = bytes(key, if is_inner { 20 } else { 16 });
    SCENE.with_borrow_mut(|scene| match scene.keys.contains(&(map, key)) {
        false => 0,
        true if is_inner => {
            scene.held += 1;
            MEMORY.with_borrow(|memory| memory.socket.as_ptr() as u64)
        }
        true => INNER,
    })
}

/// `bpf_sock_hash_update`
pub fn put_socket(_: u64, map: u64, key: u64, flags: u64, _: u64) -> u64 {
    let entry = (map, bytes(key, 20));
    SCENE.with_borrow_mut(|scene| match (scene.keys.contains(&entry), flags) {
        // BPF_NOEXIST
        (true, 1) => (-i64::from(libc::EEXIST)).cast_unsigned(),
        (true, _) => 0,
        (false, _) => {
            scene.keys.push(entry);
            0
        }
    })
}

/// `bpf_probe_read_kernel`, of a word.
pub fn read(to: u64, length: u64, from: u64, _: u64, _: u64) -> u64 {
    SCENE.with_borrow(|scene| {
        let Some((_, word)) = scene.words.iter().find(|(at, _)| *at == from) else {
            return u64::MAX;
        };
        assert_eq!(length, 4);
        // SAFETY: `to` is on the program's stack, with room for the length that
        // it gives.
        unsafe { std::ptr::copy_nonoverlapping(word.to_ne_bytes().as_ptr(), to as *mut u8, 4) };
        0
    })
}

/// `bpf_get_current_ancestor_cgroup_id`
pub fn ancestor_cgroup(level: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    let index = (level as usize).wrapping_sub(1);
    SCENE.with_borrow(|scene| scene.cgroups.get(index).copied().unwrap_or(0))
}

/// `bpf_sk_assign`
pub fn assign(_: u64, _: u64, _: u64, _: u64, _: u64) -> u64 {
    SCENE.with_borrow_mut(|scene| scene.is_assigned = true);
    0
}
