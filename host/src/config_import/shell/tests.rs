//! Shell files as they are read, and what isn't.

use super::*;
use proptest::prelude::*;

fn of(text: &str) -> Vec<(usize, String, Result<String, ()>)> {
    let found = read("f", text, &[("VEID", "101")]);
    found
        .into_iter()
        .map(|s| (s.line, s.key, if s.state == State::Plain { Ok(s.value) } else { Err(()) }))
        .collect()
}

#[track_caller]
fn one(text: &str, value: Result<&str, ()>) {
    assert_eq!(of(text), [(1, "A".to_owned(), value.map(str::to_owned))], "{text}");
}

#[test]
fn literal_values_are_read_as_a_shell_reads_them() {
    one("A=b", Ok("b"));
    one("A=", Ok(""));
    one("A= # nothing", Ok(""));
    one("export A=b;", Ok("b"));
    one("A='b c'\"d e\"f # g\n", Ok("b cd ef"));
    one("A=b#c", Ok("b#c"));
    one("A=\"a\\\"b\\c\"", Ok("a\"b\\c"));
    one("A=\"b \\\n c\"", Ok("b  c"));
    one("A=b\\\nc\n", Ok("bc"));
    one("A='b\nc'", Ok("b\nc"));
    one("A=\"/vz/$VEID/${VEID}\"", Ok("/vz/101/101"));
    assert_eq!(of("A=1; B=2\n\nC=3\n").iter().map(|s| s.0).collect::<Vec<_>>(), [1, 1, 3]);
}

#[test]
fn what_needs_a_shell_is_unclear() {
    for text in [
        "A=$B",
        "A=\"${B}\"",
        "A=`id`",
        "A=\"$(id)\"",
        "A=~/x",
        "A=b c",
        "A=b && c",
        "A=b | c",
        "A=(b c)",
        "A='b",
        "A=\"b",
        "A=$VEIDS",
        "A=x >f",
    ] {
        let found = of(text);
        assert!(found.len() == 1 && found[0].2.is_err(), "{text}: {found:?}");
    }
}

#[test]
fn what_stands_in_conditions_is_unclear() {
    for block in [
        "if true; then\nA=1\nfi\n",
        "if true; then echo 'x fi'\necho fi here\nA=1\nfi\n",
        "case x in\nprod) A=0 ;;\nx)\nA=1\n;;\nesac\n",
        "for x in 1 2; do\nif y; then\nA=1\nfi\nA=2\ndone\n",
        "f() {\nA=1\n}\n",
        "f(){\nA=1\n}\n",
        "[ x ] && {\nA=1\n}\n",
        "L=(\nA=1\n)\n",
    ] {
        let found = of(&format!("{block}B=2\n"));
        let (last, inner) = found.split_last().unwrap();
        assert!(inner.iter().all(|s| s.2.is_err()), "{block}: {found:?}");
        assert_eq!((&*last.1, &last.2), ("B", &Ok("2".to_owned())), "{block}: {found:?}");
    }
    assert!(of("cat <<E\nA=1\nE\n").iter().all(|s| s.2.is_err()));
    assert!(of("A=\"x\nB=1\n").iter().all(|s| s.2.is_err()));
    assert_eq!(of("if a; then b; fi\nA=1\n").last().unwrap().2, Ok("1".to_owned()));
}

#[test]
fn the_last_assignment_counts() {
    let found = read("f", "A=1\nA=2\n", &[]);
    assert_eq!(found[0].state, State::Replaced(2));
    let found = read("f", "A=1\nif x; then\nA=2\nfi\n", &[]);
    assert!(matches!(found[0].state, State::Unclear(_)));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}|[ -~\n\t]{0,200}|([A-Z]=|[\"'\\\\$`#;(){} \n]|if|fi|case|esac|x){0,60}") {
        for setting in read("f", &text, &[("VEID", "1")]) {
            prop_assert!(setting.line >= 1 && setting.line <= text.matches('\n').count() + 1);
        }
    }

    #[test]
    fn what_is_quoted_comes_back(value in "[ -~&&[^']]{0,30}") {
        let found = read("f", &format!("A='{value}'\n"), &[]);
        prop_assert_eq!(&found[0].value, &value);
    }
}
