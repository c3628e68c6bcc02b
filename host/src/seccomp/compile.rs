//! From rules to programs.
//!
//! seccompiler translates the rules of one architecture and one answer. The
//! two architectures are put into one program here, behind a look at which
//! one calls. There is a program for each answer; the kernel runs all that
//! are installed, and a call that several refuse gets the last one's answer.

use std::collections::BTreeMap;

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGT, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{SECCOMP_RET_ERRNO, sock_filter};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};
use syscalls::{x86, x86_64};

use super::{Answer, Program, Rule, When};

/// linux/audit.h.
pub(super) const ARCH_X86_64: u32 = 0xC000_003E;
/// linux/audit.h.
pub(super) const ARCH_I386: u32 = 0x4000_0003;

/// The last system call that the rules were written with knowledge of
/// (file_setattr, Linux 6.17). Newer ones have the same number in both
/// architectures; until they have been judged they don't exist inside.
pub const LAST_JUDGED: u32 = 469;

/// Offsets in `struct seccomp_data` (seccomp(2)).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// Translates rules. The programs are to be installed in this order.
///
/// # Errors
/// A sentence for the developer: a call that no architecture has, a rule that
/// can't be translated.
pub fn compile(rules: &[Rule]) -> Result<Vec<Program>, String> {
    for name in rules.iter().flat_map(|rule| rule.calls) {
        if number_x86_64(name).is_none() && number_i386(name).is_none() {
            return Err(format!("there is no system call '{name}'"));
        }
    }
    // Whatever a number beyond the judged ones means, the first program
    // answers it, also when no rule gives that answer.
    [Answer::NotImplemented, Answer::Ignored, Answer::NoSuchRequest, Answer::NotPermitted]
        .into_iter()
        .filter(|answer| {
            *answer == Answer::NotImplemented || rules.iter().any(|rule| rule.answer == *answer)
        })
        .map(|answer| program(rules, answer))
        .collect()
}

fn number_x86_64(name: &str) -> Option<i64> {
    name.parse::<x86_64::Sysno>().ok().map(|call| call.id().into())
}

fn number_i386(name: &str) -> Option<i64> {
    name.parse::<x86::Sysno>().ok().map(|call| call.id().into())
}

fn program(rules: &[Rule], answer: Answer) -> Result<Program, String> {
    let mut wide = section(rules, answer, number_x86_64)?;
    let mut narrow = section(rules, answer, number_i386)?;
    aim_at_i386(&mut narrow)?;
    if answer == Answer::NotImplemented {
        wide = [unknown(), wide].concat();
        narrow = [unknown(), narrow].concat();
    }
    let behind = u32::try_from(wide.len()).map_err(|error| error.to_string())?;
    let mut program = vec![
        load(ARCHITECTURE),
        jump(BPF_JEQ, ARCH_I386, 0, 1),
        // The part for x86-64 and the two instructions before it.
        jump(BPF_JA, behind + 2, 0, 0),
        jump(BPF_JEQ, ARCH_X86_64, 1, 0),
        give(SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    program.append(&mut wide);
    program.append(&mut narrow);
    Ok(program)
}

/// Refuses what has not been judged, and with it all of x32, whose numbers
/// are larger still (`__X32_SYSCALL_BIT`, asm/unistd.h).
fn unknown() -> Program {
    vec![
        load(NUMBER),
        jump(BPF_JGT, LAST_JUDGED, 0, 1),
        give(SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

/// The rules with one answer, for one architecture.
fn section(
    rules: &[Rule],
    answer: Answer,
    number: fn(&str) -> Option<i64>,
) -> Result<Program, String> {
    let mut table: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut always = Vec::new();
    for rule in rules.iter().filter(|rule| rule.answer == answer) {
        for call in rule.calls.iter().filter_map(|name| number(name)) {
            let chain = table.entry(call).or_default();
            if rule.when == When::Always {
                always.push(call);
            }
            chain.extend(conditions(rule.when).map_err(|error| error.to_string())?);
        }
    }
    for call in always {
        // An empty chain matches whatever the arguments are.
        table.insert(call, Vec::new());
    }
    let filter = SeccompFilter::new(
        table,
        SeccompAction::Allow,
        SeccompAction::Errno(answer.errno()),
        TargetArch::x86_64,
    );
    let filter = filter.map_err(|error| error.to_string())?;
    let program = BpfProgram::try_from(filter).map_err(|error| error.to_string())?;
    Ok(program.iter().map(|i| sock_filter { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect())
}

/// A use is refused if one of the rules matches; a rule matches if all of its
/// conditions do.
fn conditions(when: When) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let condition = |argument, operator, value: u32| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())
    };
    match when {
        When::Always => Ok(Vec::new()),
        When::OneOf { argument, values } => values
            .iter()
            .map(|value| SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, *value)?]))
            .collect(),
        When::OneOfAndSet { argument, values, pointer } => values
            .iter()
            .map(|value| {
                let null = SeccompCmpOp::Ne;
                let set = SeccompCondition::new(pointer, SeccompCmpArgLen::Qword, null, 0)?;
                SeccompRule::new(vec![condition(argument, SeccompCmpOp::Eq, *value)?, set])
            })
            .collect(),
        When::NoneOf { argument, values } => {
            let all: Result<Vec<_>, _> =
                values.iter().map(|value| condition(argument, SeccompCmpOp::Ne, *value)).collect();
            Ok(vec![SeccompRule::new(all?)?])
        }
        When::AnyBit { argument, bits } => (0..u32::BITS)
            .map(|place| 1 << place)
            .filter(|bit| bits & bit != 0)
            .map(|bit| {
                let masked = SeccompCmpOp::MaskedEq(bit.into());
                SeccompRule::new(vec![condition(argument, masked, bit)?])
            })
            .collect(),
    }
}

/// seccompiler knows no i386: the comparison in front of what it made for
/// x86-64 is changed, and nothing else in it depends on the architecture.
fn aim_at_i386(program: &mut Program) -> Result<(), String> {
    let compares = (BPF_JMP | BPF_JEQ | BPF_K) as u16;
    let place = program.iter_mut().take(3).find(|i| i.code == compares && i.k == ARCH_X86_64);
    place
        .map(|instruction| instruction.k = ARCH_I386)
        .ok_or_else(|| "the filter doesn't begin with a comparison of the architecture".to_owned())
}

fn load(offset: u32) -> sock_filter {
    sock_filter { code: (BPF_LD | BPF_W | BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(operation: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: (BPF_JMP | operation | BPF_K) as u16, jt, jf, k }
}

fn give(action: u32) -> sock_filter {
    sock_filter { code: (BPF_RET | BPF_K) as u16, jt: 0, jf: 0, k: action }
}
