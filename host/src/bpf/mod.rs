//! eBPF programs as data: a small assembler, and the programs of a guest's
//! cgroup. Nothing here talks to the kernel; `cgroup` loads and attaches.
//!
//! Instructions are those of the kernel's documentation, "BPF Instruction Set
//! Architecture", in the layout of little-endian machines.

pub mod btf;
pub mod device;
pub mod socket;

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
}

impl Assembler {
    /// `to = *(u32 *)(base + offset)`
    pub fn load_u32(&mut self, to: Register, base: Register, offset: u8) {
        self.push(0x61, to, Some(base), offset.into(), 0);
    }

    /// `to = *(u64 *)(base + offset)`
    pub fn load_u64(&mut self, to: Register, base: Register, offset: u8) {
        self.push(0x79, to, Some(base), offset.into(), 0);
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

    /// `to &= mask`, the mask's sign extended.
    pub fn and(&mut self, to: Register, mask: i32) {
        self.push(0x57, to, None, 0, mask);
    }

    /// `to >>= bits`
    pub fn shift_right(&mut self, to: Register, bits: u8) {
        self.push(0x77, to, None, 0, bits.into());
    }

    /// Goes to the label if the register compares so with the number.
    pub fn jump(&mut self, register: Register, when: When, number: i32, label: &mut Label) {
        label.jumps.push(self.code.len());
        self.push(when.code(), register, None, 0, number);
    }

    /// Jumps to this label arrive here.
    pub fn place(&mut self, label: Label) {
        let here = self.code.len();
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
    }

    /// The whole program.
    pub fn finish(self) -> Program {
        self.code
    }

    /// Code 8 bits, destination 4, source 4, offset 16, number 32.
    fn push(&mut self, code: u8, to: Register, from: Option<Register>, offset: u16, number: i32) {
        let from = from.map_or(0, |register| register as u64);
        self.code.push(
            u64::from(code)
                | (to as u64) << 8
                | from << 12
                | u64::from(offset) << 16
                | u64::from(number as u32) << 32,
        );
    }
}

/// Runs a program over a context.
#[cfg(test)]
fn interpret(program: &[u64], context: &mut [u8]) -> u64 {
    let bytes: Vec<u8> = program.iter().flat_map(|insn| insn.to_le_bytes()).collect();
    let machine = rbpf::EbpfVmRaw::new(Some(&bytes)).expect("a valid program");
    machine.execute_program(context).expect("it ends")
}
