//! Tests of the inittab parser.

use proptest::prelude::*;

use super::*;

const DEBIAN: &str = "\
# comment
id:2:initdefault:
si::sysinit:/etc/init.d/rcS
~~:S:wait:/sbin/sulogin --force
l0:0:wait:/etc/init.d/rc 0
ca:12345:ctrlaltdel:/sbin/shutdown -t1 -a -r now
pf::powerwait:/etc/init.d/powerfail start
1:2345:respawn:/sbin/getty --noclear 38400 tty1
T0:23:respawn:+/sbin/getty -L ttyS0 9600 vt100
";

fn level(c: char) -> Runlevel {
    Runlevel::from_char(c).unwrap()
}

#[test]
fn debians_inittab_is_read_in_full() {
    let inittab = parse(DEBIAN, Dialect::Sysv);
    assert_eq!(inittab.problems, []);
    assert_eq!(inittab.entries.len(), 8);
    let getty = &inittab.entries[6];
    assert_eq!(getty.action, Action::Respawn);
    assert_eq!(getty.terminal.as_deref(), Some("tty1"));
    assert!(getty.levels.contains(level('2')) && !getty.levels.contains(level('S')));
    let serial = &inittab.entries[7];
    assert!(serial.unrecorded);
    assert_eq!(serial.process, "/sbin/getty -L ttyS0 9600 vt100");
    assert_eq!(dialect_of(DEBIAN), Some(Dialect::Sysv));
}

#[test]
fn an_empty_runlevel_field_means_0_to_9() {
    let levels = Levels::parse("").unwrap();
    assert!(levels.contains(level('0')) && levels.contains(level('9')));
    assert!(!levels.contains(level('S')) && !levels.contains(level('a')));
}

#[test]
fn bad_lines_are_reported_by_number_and_skipped() {
    let text = "\nx:2:respawn\nid:2:nonsense:/bin/true\ntoolong12:2:once:/bin/true\n\
                ok:2:once:/bin/true\nok:3:once:/bin/false\nl:2z:once:/bin/true\ne:2:once:\n";
    let inittab = parse(text, Dialect::Sysv);
    assert_eq!(inittab.entries.len(), 1);
    let lines: Vec<u32> = inittab.problems.iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3, 4, 6, 7, 8]);
}

#[test]
fn alpines_inittab_is_busybox() {
    let text = "::sysinit:/sbin/openrc sysinit\n::wait:/sbin/openrc default\n\
                tty1::respawn:/sbin/getty 38400 tty1\n::ctrlaltdel:/sbin/reboot\n\
                ::shutdown:/sbin/openrc shutdown\n::sysinit:/sbin/openrc boot\n";
    assert_eq!(dialect_of(text), Some(Dialect::Busybox));
    let inittab = parse(text, Dialect::Busybox);
    let order: Vec<&str> = inittab.entries.iter().map(|entry| entry.process.as_str()).collect();
    assert_eq!(order[..2], ["/sbin/openrc sysinit", "/sbin/openrc boot"]);
    let down = inittab.entries.iter().find(|entry| entry.process.ends_with("shutdown")).unwrap();
    assert!(down.levels.contains(Runlevel::HALT) && down.levels.contains(Runlevel::REBOOT));
    assert!(!down.levels.contains(Runlevel::MULTI));
}

#[test]
fn busyboxs_own_inittab_has_no_problem() {
    let inittab = built_in();
    assert_eq!(inittab.problems, []);
    assert_eq!(inittab.entries.len(), 9);
}

#[test]
fn nothing_is_no_dialect() {
    assert_eq!(dialect_of("# only a comment\n"), None);
}

proptest! {
    #[test]
    fn every_text_is_read_without_panic(text in "\\PC{0,200}") {
        for dialect in [Dialect::Sysv, Dialect::Busybox] {
            parse(&text, dialect);
        }
        dialect_of(&text);
    }

    #[test]
    fn every_line_is_an_entry_a_problem_or_a_comment(
        lines in prop::collection::vec("[a-z0-9#:S/ +-]{0,40}", 0..30)
    ) {
        let text = lines.join("\n");
        let count = text.lines().filter(|l| !l.trim().is_empty() && !l.trim().starts_with('#')).count();
        for dialect in [Dialect::Sysv, Dialect::Busybox] {
            let inittab = parse(&text, dialect);
            prop_assert_eq!(inittab.entries.len() + inittab.problems.len(), count);
        }
    }

    #[test]
    fn a_sysv_line_keeps_its_parts(
        id in "[a-z0-9~]{1,4}", levels in "[0-9Sabc]{1,8}", process in "/[a-z /]{1,20}[a-z]"
    ) {
        let inittab = parse(&format!("{id}:{levels}:once:{process}"), Dialect::Sysv);
        let entry = &inittab.entries[0];
        prop_assert_eq!(&entry.id, &id);
        prop_assert_eq!(&entry.process, process.trim());
        for c in "0123456789Sabc".chars() {
            prop_assert_eq!(entry.levels.contains(level(c)), levels.contains(c));
        }
    }
}
