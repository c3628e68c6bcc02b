//! The rules of this code base that no compiler checks. They look at the
//! text of the sources only; the data stands at the top of each file.

mod layers;
mod sources;
mod tables;

use sources::{Source, sources};

/// Where `unsafe` may stand: the one module of each program.
const UNSAFE: &[&str] = &["host/src/sys", "guest-init/src/sys", "tests/attacker/sys"];

/// Longest file, in lines.
const LONGEST: usize = 500;

#[track_caller]
fn none(rule: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{rule}:\n{}", offenders.join("\n"));
}

#[test]
fn no_file_is_longer_than_a_sitting() {
    let long = sources().into_iter().filter(|source| source.text.lines().count() > LONGEST);
    none("files have at most 500 lines", long.map(|source| source.path).collect());
}

#[test]
fn every_file_says_what_it_owns() {
    let silent = sources().into_iter().filter(|source| !source.text.starts_with("//! "));
    none("files open with '//!'", silent.map(|source| source.path).collect());
}

#[test]
fn unsafe_code_stands_in_the_sys_modules() {
    let outside = |source: &Source| {
        let allowed = UNSAFE.iter().any(|place| {
            source.path == format!("{place}.rs") || source.path.starts_with(&format!("{place}/"))
        });
        !allowed && source.code_lines().any(|(_, line)| sources::has_word(line, "unsafe"))
    };
    let offenders = sources().into_iter().filter(outside).map(|source| source.path);
    none("unsafe code outside the sys modules", offenders.collect());
}

#[test]
fn every_ignored_test_has_a_reason() {
    let mut offenders = Vec::new();
    for source in sources() {
        for (number, line) in source.code_lines() {
            let bare = line.trim_start().starts_with("#[ignore");
            let reason = ["= \"root: ", "= \"issue "].iter().any(|start| line.contains(start));
            if bare && !reason {
                offenders.push(format!("{}:{number}", source.path));
            }
        }
    }
    none("an ignored test says 'root: …' or 'issue …'", offenders);
}

#[test]
fn no_open_ends_without_an_issue() {
    let mut offenders = Vec::new();
    for source in sources().into_iter().filter(|source| !source.path.starts_with("tests/style")) {
        for (number, line) in source.text.lines().enumerate() {
            let open = ["TODO", "FIXME", "XXX"].iter().any(|mark| sources::has_word(line, mark));
            if open && !line.contains("issue ") {
                offenders.push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    none("a TODO names its issue", offenders);
}
