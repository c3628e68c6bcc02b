//! The programs, run by a small interpreter of classic BPF, against what the
//! rules say.

use libc::{BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET};
use libc::{BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW as ALLOW, SECCOMP_RET_ERRNO};
use proptest::prelude::*;
use syscalls::{x86, x86_64};

use super::compile::{ARCH_I386, ARCH_X86_64, LAST_JUDGED};
use super::*;

/// Calls of the x32 architecture have this bit in their number
/// (`__X32_SYSCALL_BIT`, asm/unistd.h).
const X32: u32 = 0x4000_0000;

/// A call as the kernel shows it to a filter.
#[derive(Clone, Copy, Debug)]
struct Call {
    architecture: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            8 | 12 => 0,
            _ => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                (argument >> (8 * (offset % 8))) as u32
            }
        }
    }
}

fn evaluate(program: &Program, call: Call) -> u32 {
    let (mut place, mut register) = (0, 0);
    loop {
        let instruction = program[place];
        let code = u32::from(instruction.code);
        let k = instruction.k;
        place += 1;
        let choose = |yes: bool| usize::from(if yes { instruction.jt } else { instruction.jf });
        match code {
            _ if code == BPF_LD | BPF_W | BPF_ABS => register = call.word(k),
            _ if code == BPF_ALU | BPF_AND | BPF_K => register &= k,
            _ if code == BPF_JMP | BPF_JA | BPF_K => place += k as usize,
            _ if code == BPF_JMP | BPF_JEQ | BPF_K => place += choose(register == k),
            _ if code == BPF_JMP | BPF_JGT | BPF_K => place += choose(register > k),
            _ if code == BPF_JMP | BPF_JGE | BPF_K => place += choose(register >= k),
            _ if code == BPF_JMP | BPF_JSET | BPF_K => place += choose(register & k != 0),
            _ if code == BPF_RET | BPF_K => return k,
            _ => panic!("instruction {code:#x}"),
        }
    }
}

/// What the kernel does with all programs installed: of answers of the same
/// kind the one installed last counts.
fn answer(programs: &[Program], call: Call) -> u32 {
    let answers = programs.iter().rev().map(|program| evaluate(program, call));
    answers.min_by_key(|answer| answer & 0xffff_0000).unwrap_or(ALLOW)
}

const RULES: [Rule; 8] = [
    Rule {
        calls: &["mount", "umount2", "umount"],
        when: When::Always,
        answer: Answer::NotPermitted,
    },
    Rule { calls: &["clone3"], when: When::Always, answer: Answer::NotImplemented },
    Rule {
        calls: &["socket"],
        when: When::NoneOf { argument: 0, values: &[1, 2, 10] },
        answer: Answer::NotPermitted,
    },
    Rule {
        calls: &["unshare"],
        when: When::AnyBit { argument: 0, bits: 0x1002_0000 },
        answer: Answer::NotPermitted,
    },
    Rule {
        calls: &["ioctl"],
        when: When::OneOf { argument: 1, values: &[0x5412, 0x541c] },
        answer: Answer::NotPermitted,
    },
    Rule {
        calls: &["ioctl"],
        when: When::OneOf { argument: 1, values: &[0x5000_940e] },
        answer: Answer::NoSuchRequest,
    },
    Rule {
        calls: &["setpriority"],
        when: When::AnyBit { argument: 2, bits: 1 << 31 },
        answer: Answer::Ignored,
    },
    Rule {
        calls: &["prlimit64"],
        when: When::OneOfAndSet { argument: 1, values: &[13, 14], pointer: 2 },
        answer: Answer::Ignored,
    },
];

/// The same decision, without a program.
fn expected(call: Call) -> u32 {
    let name = match call.architecture {
        ARCH_X86_64 if call.number <= LAST_JUDGED => {
            x86_64::Sysno::new(call.number as usize).map(|call| call.name().to_owned())
        }
        ARCH_I386 if call.number <= LAST_JUDGED => {
            x86::Sysno::new(call.number as usize).map(|call| call.name().to_owned())
        }
        ARCH_X86_64 | ARCH_I386 => return SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        _ => return SECCOMP_RET_ERRNO | libc::EPERM as u32,
    };
    let Some(name) = name else { return ALLOW };
    let matches = |when: When| match when {
        When::Always => true,
        When::OneOf { argument, values } => {
            values.contains(&(call.arguments[usize::from(argument)] as u32))
        }
        When::OneOfAndSet { argument, values, pointer } => {
            values.contains(&(call.arguments[usize::from(argument)] as u32))
                && call.arguments[usize::from(pointer)] != 0
        }
        When::NoneOf { argument, values } => {
            !values.contains(&(call.arguments[usize::from(argument)] as u32))
        }
        When::AnyBit { argument, bits } => call.arguments[usize::from(argument)] as u32 & bits != 0,
    };
    let rule = RULES.iter().find(|rule| rule.calls.contains(&&*name) && matches(rule.when));
    rule.map_or(ALLOW, |rule| SECCOMP_RET_ERRNO | rule.answer.errno())
}

fn arguments() -> impl Strategy<Value = [u64; 6]> {
    let word = prop_oneof![
        0..64u64,
        Just(0),
        Just(13),
        Just(0x5412),
        Just(0x541c),
        Just(0xffff_ffff_0000_5412),
        Just(0x5000_940e),
        Just(0x1000_0000),
        Just(0x0002_0000),
        any::<u64>()
    ];
    prop::array::uniform6(word)
}

fn calls() -> impl Strategy<Value = Call> {
    let architecture = prop_oneof![4 => Just(ARCH_X86_64), 4 => Just(ARCH_I386), 1 => any::<u32>()];
    let interesting = prop::sample::select(
        RULES
            .iter()
            .flat_map(|rule| rule.calls)
            .flat_map(|name| {
                let wide = name.parse::<x86_64::Sysno>().ok().map(|call| call.id() as u32);
                let narrow = name.parse::<x86::Sysno>().ok().map(|call| call.id() as u32);
                wide.into_iter().chain(narrow)
            })
            .collect::<Vec<_>>(),
    );
    let number = prop_oneof![
        4 => interesting,
        2 => 0..480u32,
        1 => X32..X32 + 600,
        1 => any::<u32>()
    ];
    (architecture, number, arguments()).prop_map(|(architecture, number, arguments)| Call {
        architecture,
        number,
        arguments,
    })
}

proptest! {
    #[test]
    fn programs_decide_as_their_rules_say(call in calls()) {
        let programs = compile(&RULES).unwrap();
        prop_assert_eq!(answer(&programs, call), expected(call));
    }
}

#[test]
fn a_misspelt_call_is_an_error() {
    let rule = Rule { calls: &["mounte"], when: When::Always, answer: Answer::NotPermitted };
    assert!(compile(&[rule]).unwrap_err().contains("mounte"));
}

/// Whatever the rules: those of x86-64 and the ones that x32 has of its own.
#[test]
fn no_call_of_x32_exists() {
    for programs in [compile(&[]).unwrap(), compile(&RULES).unwrap()] {
        for number in X32..X32 + 1024 {
            let call = Call { architecture: ARCH_X86_64, number, arguments: [0; 6] };
            assert_eq!(answer(&programs, call), SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
        }
    }
}

#[test]
fn without_rules_only_the_unknown_is_refused() {
    let programs = compile(&[]).unwrap();
    let call = |number| Call { architecture: ARCH_X86_64, number, arguments: [0; 6] };
    assert_eq!(answer(&programs, call(0)), ALLOW);
    assert_eq!(answer(&programs, call(LAST_JUDGED)), ALLOW);
    assert_ne!(answer(&programs, call(LAST_JUDGED + 1)), ALLOW);
}
