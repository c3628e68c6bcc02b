//! eBPF programs as data: a small assembler, and the programs of a guest's
//! cgroup. Nothing here talks to the kernel; `cgroup` loads and attaches.
//!
//! Instructions are those of the kernel's documentation, "BPF Instruction Set
//! Architecture", in the layout of little-endian machines.

pub mod addresses;
pub mod btf;
pub mod device;
pub mod forks;
pub mod link;
pub mod socket;
pub mod traffic;

#[cfg(test)]
use crate::sys::bpf::emulated;

/// A program: one instruction each.
pub type Program = Vec<u64>;

/// A register. R0 holds the result, R1 the context at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// The result.
    R0,
    /// The context at the start.
    R1,
    /// Free to use, as all that follow.
    R2,
    /// Free.
    R3,
    /// Free.
    R4,
    /// Free.
    R5,
    /// Kept over calls, as all that follow.
    R6,
    /// Kept.
    R7,
    /// Kept.
    R8,
    /// Kept.
    R9,
    /// The end of the stack: what a program keeps there is below it. Only
    /// read.
    R10,
}

/// A function of the kernel's that programs call (linux/bpf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `void *map_lookup_elem(map, key)`: a value, a socket that has to be
    /// given back, or a map.
    Find = 1,
    /// `u64 get_current_uid_gid(void)`: the uid in the lower half.
    CurrentUidGid = 15,
    /// `long redirect(interface, flags)`: what the program answers then sends
    /// the packet out by that interface.
    Redirect = 23,
    /// `struct task_struct *get_current_task(void)`
    CurrentTask = 35,
    /// `long skb_load_bytes(skb, offset, to, length)`
    LoadBytes = 26,
    /// `long probe_read_kernel(to, length, from)`
    Read = 113,
    /// `long bind(context, address, length)`
    Bind = 64,
    /// `long sock_hash_update(context, map, key, flags)`: puts the socket of
    /// the context there.
    PutSocket = 70,
    /// `struct bpf_sock *sk_lookup_tcp(context, tuple, size, namespace, flags)`
    LookUpTcp = 84,
    /// The same for UDP.
    LookUpUdp = 85,
    /// `long sk_release(socket)`
    Release = 86,
    /// `void *sk_storage_get(map, socket, value, flags)`
    Mark = 107,
    /// `long sk_storage_delete(map, socket)`
    Unmark = 108,
    /// `long sk_assign(context, socket, flags)`
    Assign = 124,
    /// `u64 get_current_ancestor_cgroup_id(int)`: of the cgroup so many levels
    /// below the root; 0 if the process isn't so deep.
    AncestorCgroup = 123,
    /// `int set_retval(int)`: what the system call answers, as -errno.
    SetAnswer = 187,
}

/// When a jump is taken: the register against the number, unsigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// They are equal.
    Equal,
    /// They differ.
    NotEqual,
    /// The register is greater.
    Greater,
    /// The register is less.
    Less,
}

impl When {
    /// Class JMP, source K.
    fn code(self) -> u8 {
        match self {
            Self::Equal => 0x15,
            Self::NotEqual => 0x55,
            Self::Greater => 0x25,
            Self::Less => 0xa5,
        }
    }
}

/// A place further on in the program, which jumps lead to. There are no
/// jumps backwards, so that every program ends.
#[derive(Debug, Default)]
pub struct Label {
    jumps: Vec<usize>,
}

/// Puts a program together, an instruction at a time.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Program,
    /// Does nothing lead here? The kernel refuses programs that hold what is
    /// never run, so that is left out.
    is_dead: bool,
}

impl Assembler {
    /// `to = *(u8 *)(base + offset)`
    pub fn load_u8(&mut self, to: Register, base: Register, offset: i16) {
        self.push(0x71, to, Some(base), offset, 0);
    }

    /// `to = *(u16 *)(base + offset)`
    pub fn load_u16(&mut self, to: Register, base: Register, offset: i16) {
        self.push(0x69, to, Some(base), offset, 0);
    }

    /// `to = *(u32 *)(base + offset)`
    pub fn load_u32(&mut self, to: Register, base: Register, offset: i16) {
        self.push(0x61, to, Some(base), offset, 0);
    }

    /// `to = *(u64 *)(base + offset)`
    pub fn load_u64(&mut self, to: Register, base: Register, offset: i16) {
        self.push(0x79, to, Some(base), offset, 0);
    }

    /// `*(u32 *)(base + offset) = from`
    pub fn store_u32(&mut self, base: Register, offset: i16, from: Register) {
        self.push(0x63, base, Some(from), offset, 0);
    }

    /// `*(u64 *)(base + offset) = from`
    pub fn store_u64(&mut self, base: Register, offset: i16, from: Register) {
        self.push(0x7b, base, Some(from), offset, 0);
    }

    /// `*(u32 *)(R10 + offset) = number`
    pub fn put_u32(&mut self, offset: i16, number: i32) {
        self.push(0x62, Register::R10, None, offset, number);
    }

    /// `to = ` where the value of a map of one element lies. Takes two places.
    pub fn value_of(&mut self, to: Register, map: i32) {
        // BPF_PSEUDO_MAP_VALUE in the place of the source.
        self.push(0x18, to, Some(Register::R2), 0, map);
        self.push(0, Register::R0, None, 0, 0);
    }

    /// `to = ` a map, for functions. Takes two places.
    pub fn map(&mut self, to: Register, map: i32) {
        // BPF_PSEUDO_MAP_FD in the place of the source.
        self.push(0x18, to, Some(Register::R1), 0, map);
        self.push(0, Register::R0, None, 0, 0);
    }

    /// `*(u64 *)(base + offset) += from`, at once.
    pub fn count(&mut self, base: Register, offset: i16, from: Register) {
        self.push(0xdb, base, Some(from), offset, 0);
    }

    /// `to = number`
    pub fn set(&mut self, to: Register, number: i32) {
        self.push(0xb7, to, None, 0, number);
    }

    /// `to = from`
    pub fn copy(&mut self, to: Register, from: Register) {
        self.push(0xbf, to, Some(from), 0, 0);
    }

    /// `to = (u32)to`
    pub fn truncate(&mut self, to: Register) {
        self.push(0xbc, to, Some(to), 0, 0);
    }

    /// `to += number`
    pub fn add(&mut self, to: Register, number: i32) {
        self.push(0x07, to, None, 0, number);
    }

    /// `to -= from`
    pub fn subtract(&mut self, to: Register, from: Register) {
        self.push(0x1f, to, Some(from), 0, 0);
    }

    /// `to &= mask`, the mask's sign extended.
    pub fn and(&mut self, to: Register, mask: i32) {
        self.push(0x57, to, None, 0, mask);
    }

    /// `to >>= bits`
    pub fn shift_right(&mut self, to: Register, bits: u8) {
        self.push(0x77, to, None, 0, bits.into());
    }

    /// `to <<= bits`
    pub fn shift_left(&mut self, to: Register, bits: u8) {
        self.push(0x67, to, None, 0, bits.into());
    }

    /// Calls a function: arguments in R1 to R5, which it uses up, the answer
    /// in R0.
    pub fn call(&mut self, function: Function) {
        self.push(0x85, Register::R0, None, 0, function as i32);
    }

    /// Copies so many bytes of the kernel's from `base + offset` to the stack;
    /// goes to the label if there are none. Uses up what a call does.
    pub fn read(&mut self, base: Register, offset: u32, size: i32, to: i16, label: &mut Label) {
        use Register::{R0, R1, R2, R3, R10};
        self.copy(R3, base);
        self.add(R3, offset.cast_signed());
        self.copy(R1, R10);
        self.add(R1, to.into());
        self.set(R2, size);
        self.call(Function::Read);
        self.jump(R0, When::NotEqual, 0, label);
    }

    /// Goes to the label.
    pub fn go(&mut self, label: &mut Label) {
        self.push_jump(0x05, Register::R0, 0, label);
        self.is_dead = true;
    }

    /// [`Assembler::jump`] by the lower 32 bits alone.
    pub fn jump_u32(&mut self, register: Register, when: When, number: i32, label: &mut Label) {
        // Class JMP32 instead of JMP.
        self.push_jump(when.code() + 1, register, number, label);
    }

    /// Goes to the label if the register compares so with the number, its
    /// sign extended.
    pub fn jump(&mut self, register: Register, when: When, number: i32, label: &mut Label) {
        self.push_jump(when.code(), register, number, label);
    }

    /// Goes to the label unless the first register is greater than the other one.
    pub fn jump_unless_greater(&mut self, register: Register, other: Register, label: &mut Label) {
        if !self.is_dead {
            label.jumps.push(self.code.len());
        }
        // BPF_JLE of class JMP, source X.
        self.push(0xbd, register, Some(other), 0, 0);
    }

    /// Jumps to this label arrive here.
    pub fn place(&mut self, label: Label) {
        let here = self.code.len();
        self.is_dead &= label.jumps.is_empty();
        for jump in label.jumps {
            // Counted from the instruction after the jump. The programs here
            // jump over a few instructions.
            let distance = (here - jump - 1) as u64 & 0x7fff;
            self.code[jump] |= distance << 16;
        }
    }

    /// Returns R0.
    pub fn exit(&mut self) {
        self.push(0x95, Register::R0, None, 0, 0);
        self.is_dead = true;
    }

    /// The whole program.
    pub fn finish(self) -> Program {
        self.code
    }

    fn push_jump(&mut self, code: u8, register: Register, number: i32, label: &mut Label) {
        if !self.is_dead {
            label.jumps.push(self.code.len());
        }
        self.push(code, register, None, 0, number);
    }

    /// Code 8 bits, destination 4, source 4, offset 16, number 32.
    fn push(&mut self, code: u8, to: Register, from: Option<Register>, offset: i16, number: i32) {
        if self.is_dead {
            return;
        }
        let from = from.map_or(0, |register| register as u64);
        self.code.push(
            u64::from(code)
                | (to as u64) << 8
                | from << 12
                | u64::from(offset as u16) << 16
                | u64::from(number as u32) << 32,
        );
    }
}

/// Runs a program over the context of a packet, of which nothing lies in one piece, its front,
/// or all: the answer has to be the same.
#[cfg(test)]
fn interpret_packet(program: &[u64], context: &mut [u8], packet: &[u8]) -> u64 {
    let fronts = [0, 20, 40, packet.len()].map(|front| front.min(packet.len()));
    let answers = fronts.map(|front| interpret_front(program, context, packet, front));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{packet:?}: {answers:?}");
    answers[0]
}

/// Runs it with so much of the packet in one piece.
#[cfg(test)]
fn interpret_front(program: &[u64], context: &[u8], packet: &[u8], front: usize) -> u64 {
    /// The kernel's verifier has the two fields, of four bytes, read as pointers, of eight,
    /// which here stand behind all others.
    const FIELDS: [(u64, usize); 2] = [(76, 192), (80, 200)];
    let scene = emulated::Scene { packet: packet.to_vec(), ..emulated::Scene::default() };
    let begin = scene.packet.as_ptr() as u64;
    let mut context = context.to_vec();
    context.resize(208, 0);
    for ((_, at), pointer) in FIELDS.iter().zip([begin, begin + front as u64]) {
        context[*at..][..8].copy_from_slice(&pointer.to_ne_bytes());
    }
    let as_pointer = |insn: &u64| {
        let field = FIELDS.iter().find(|(offset, _)| insn >> 16 & 0xffff == *offset);
        match field {
            Some((_, at)) if insn & 0xff == 0x61 => insn & 0xff00 | 0x79 | (*at as u64) << 16,
            _ => *insn,
        }
    };
    let program: Program = program.iter().map(as_pointer).collect();
    interpret_in(scene, &program, &mut context).0
}

/// Runs a program over a context.
#[cfg(test)]
fn interpret(program: &[u64], context: &mut [u8]) -> u64 {
    interpret_in(emulated::Scene::default(), program, context).0
}

/// The same where the kernel's functions find this; also what has become of
/// that, and the mark of the socket.
#[cfg(test)]
fn interpret_in(
    scene: emulated::Scene,
    program: &[u64],
    context: &mut [u8],
) -> (u64, emulated::Scene, u64) {
    // The interpreter knows no addition in one step; numbers begin at 0, where
    // storing is the same.
    let plain = |insn: &u64| if insn & 0xff == 0xdb { insn & !0xff | 0x7b } else { *insn };
    let bytes: Vec<u8> = program.iter().flat_map(|insn| plain(insn).to_le_bytes()).collect();
    let mut machine = rbpf::EbpfVmRaw::new(Some(&bytes)).expect("a valid program");
    let functions: [(Function, rbpf::Helper); 14] = [
        (Function::Read, emulated::read),
        (Function::AncestorCgroup, emulated::ancestor_cgroup),
        (Function::Find, emulated::find),
        (Function::LoadBytes, emulated::load_bytes),
        (Function::Bind, emulated::bind),
        (Function::PutSocket, emulated::put_socket),
        (Function::LookUpTcp, emulated::look_up_tcp),
        (Function::LookUpUdp, emulated::look_up_udp),
        (Function::Release, emulated::release),
        (Function::Mark, emulated::mark),
        (Function::Unmark, emulated::unmark),
        (Function::Assign, emulated::assign),
        (Function::SetAnswer, emulated::set_answer),
        (Function::CurrentUidGid, |_, _, _, _, _| 0),
    ];
    for (function, emulated) in functions {
        machine.register_helper(function as u32, emulated).expect("a free number");
    }
    emulated::begin(scene);
    for range in emulated::memory() {
        machine.register_allowed_memory(range);
    }
    let result = machine.execute_program(context).expect("it ends");
    let (scene, mark) = emulated::end();
    (result, scene, mark)
}
