//! Changes one key in a configuration's text and keeps all the rest of it:
//! comments, order, blank lines.
//!
//! Pure. The commented-out line that `build` wrote for a key is used where
//! there is one, so that a value stands below its explanation.

use std::collections::{BTreeMap, BTreeSet};

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use super::parse::Document;
use super::problem::{Problem, nearest};
use super::schema::{self, Shape};

/// The text with `key` set. The words are what the user typed: a TOML value,
/// or a bare word where the key holds text, or several for a list.
///
/// # Errors
/// When there is no such key, or these words are no value for it.
pub fn set(text: &str, key: &str, words: &[String]) -> Result<String, Vec<Problem>> {
    let path = path_of(key)?;
    let value = value_for(&path, words)?;
    let mut document = document(text)?;
    let nothing_but_comments = document.is_empty();
    if nothing_but_comments {
        // They would be moved behind the first value.
        document = DocumentMut::new();
    }
    put(document.as_table_mut(), &path, value.clone())
        .ok_or_else(|| vec![Problem::new(key, format!("'{key}' is below something else"))])?;
    let above = if nothing_but_comments { whole_lines(text) } else { String::new() };
    let changed = format!("{above}{document}");
    Ok(uncommented(text, &path, &value, &changed).unwrap_or(changed))
}

/// The text without `key`: its line is commented out.
///
/// # Errors
/// When there is no such key, nor does one stand in the text; one that isn't set is left
/// alone.
pub fn unset(text: &str, key: &str) -> Result<String, Vec<Problem>> {
    let path = path_of(key);
    let mut document = document(text)?;
    match path {
        Ok(path) => drop(remove(document.as_table_mut(), &path)),
        Err(problems) => {
            // A mistake can be taken out.
            let parts: Vec<&str> = key.split('.').collect();
            if schema::shape(&parts).is_some() || !remove(document.as_table_mut(), &parts) {
                return Err(problems);
            }
        }
    }
    let changed = document.to_string();
    Ok(commented(text, key, &changed).unwrap_or(changed))
}

/// The text with a newline at its end.
fn whole_lines(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}

fn document(text: &str) -> Result<DocumentMut, Vec<Problem>> {
    text.parse().map_err(|error: toml_edit::TomlError| {
        vec![Problem::new("", error.message()).at(error.span())]
    })
}

/// The parts of a dotted key that holds a value. Where names are the user's
/// choice, all that follows is one, with its dots.
fn path_of(key: &str) -> Result<Vec<&str>, Vec<Problem>> {
    let mut path: Vec<&str> = Vec::new();
    let mut rest = Some(key);
    while let Some(text) = rest {
        let is_free = !path.is_empty() && schema::shape(&path) == Some(Shape::Free);
        let (part, below) = match text.split_once('.') {
            Some((part, below)) if !is_free => (part, Some(below)),
            _ => (text, None),
        };
        path.push(part);
        rest = below;
    }
    match schema::shape(&path) {
        Some(Shape::Section(_) | Shape::Free) => {
            let hint = schema::hint_of_section(key);
            Err(vec![Problem::new(key, format!("'{key}' is a section")).hint(hint)])
        }
        Some(_) => Ok(path),
        None => {
            let keys = schema::keys();
            let names = keys.iter().map(String::as_str);
            let last = path.last().copied().unwrap_or_default();
            let hint = nearest(key, names.clone())
                .or_else(|| names.into_iter().find(|known| known.rsplit('.').next() == Some(last)))
                .map(|best| format!("did you mean '{best}'?"));
            Err(vec![Problem::new(key, format!("there is no key '{key}'")).hint(hint)])
        }
    }
}

/// The first reading of the words that the key takes.
fn value_for(path: &[&str], words: &[String]) -> Result<Value, Vec<Problem>> {
    let literal = |word: &String| word.trim().parse::<Value>().ok();
    let text = |word: &String| Value::from(word.as_str());
    let list = |read: &dyn Fn(&String) -> Option<Value>| {
        words.iter().map(read).collect::<Option<Array>>().map(Value::Array)
    };
    let mut readings: Vec<Value> = Vec::new();
    let is_list = schema::shape(path) == Some(Shape::List);
    if let [word] = words {
        readings.extend(literal(word).filter(|value| value.is_array() || !is_list));
        readings.extend((!is_list).then(|| text(word)));
    }
    readings.extend(list(&literal));
    readings.extend(list(&|word| Some(text(word))));
    let mut problems = Vec::new();
    for value in readings {
        let mut alone = DocumentMut::new();
        if put(alone.as_table_mut(), path, value.clone()).is_none() {
            continue;
        }
        let text = alone.to_string();
        let found = Document::read(&text).problems().to_vec();
        if found.is_empty() {
            return Ok(value);
        }
        // The first reading is the likeliest.
        if problems.is_empty() {
            problems = found;
        }
    }
    for problem in &mut problems {
        problem.span = None;
    }
    Err(problems)
}

/// Puts a value at a path, making sections where they are missing; `None`
/// when something on the way is no section.
fn put(table: &mut dyn TableLike, path: &[&str], mut value: Value) -> Option<()> {
    match path {
        [] => None,
        [key] => {
            if let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            } else {
                table.insert(key, Item::Value(value));
            }
            Some(())
        }
        [section, rest @ ..] => {
            if !table.contains_key(section) {
                table.insert(section, Item::Table(Table::new()));
            }
            put(table.get_mut(section)?.as_table_like_mut()?, rest, value)
        }
    }
}

/// Was it there?
fn remove(table: &mut dyn TableLike, path: &[&str]) -> bool {
    match path {
        [] => false,
        [key] => table.remove(key).is_some(),
        [section, rest @ ..] => table
            .get_mut(section)
            .and_then(Item::as_table_like_mut)
            .is_some_and(|inner| remove(inner, rest)),
    }
}

/// `text` with the commented-out line of a key replaced by its value, if that
/// means the same as `wanted`.
fn uncommented(text: &str, path: &[&str], value: &Value, wanted: &str) -> Option<String> {
    let (section, key) = match path {
        [key] => (None, (*key).to_owned()),
        [section, rest @ ..] => (Some(format!("[{section}]")), rest.join(".")),
        [] => return None,
    };
    let mut current: Option<String> = None;
    let mut lines: Vec<&str> = text.split('\n').collect();
    let replacement = format!("{key} = {}", value.to_string().trim());
    let at = lines.iter().position(|line| {
        if line.starts_with('[') {
            current = Some(line.trim_end().to_owned());
        }
        let rest = line.strip_prefix('#').map(str::trim_start).unwrap_or_default();
        let is_the_key =
            rest.strip_prefix(&*key).is_some_and(|rest| rest.trim_start().starts_with('='));
        current == section && is_the_key && says_no_more(rest)
    })?;
    *lines.get_mut(at)? = &replacement;
    same_meaning(lines.join("\n"), wanted)
}

/// Is this line a value and nothing else? What somebody has noted beside one stays.
fn says_no_more(line: &str) -> bool {
    let Ok(document) = line.parse::<DocumentMut>() else { return false };
    let is_blank = |text: &str| text.trim().is_empty();
    let ends = document.iter().filter_map(|(_, item)| item.as_value()?.decor().suffix());
    let after = ends.chain([document.trailing()]);
    after.into_iter().all(|raw| raw.as_str().is_none_or(is_blank))
}

/// `text` with the lines of a key commented out, if that means the same as
/// `wanted`.
fn commented(text: &str, key: &str, wanted: &str) -> Option<String> {
    let document = Document::read(text);
    let span = document.span(key).filter(|_| document.has(key))?;
    let first = text.get(..span.start)?.matches('\n').count();
    let last = text.get(..span.end)?.matches('\n').count();
    let lines = text.split('\n').enumerate().map(|(number, line)| {
        if (first..=last).contains(&number) { format!("#{line}") } else { line.to_owned() }
    });
    same_meaning(lines.collect::<Vec<_>>().join("\n"), wanted)
}

/// The keys, dotted, whose values differ between two texts. What isn't TOML has none.
pub fn changed_keys(before: &str, after: &str) -> Vec<String> {
    let values = |text: &str| {
        let mut found = BTreeMap::new();
        collect(text.parse().unwrap_or_default(), &mut Vec::new(), &mut found);
        found
    };
    let (before, after) = (values(before), values(after));
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

fn collect(table: toml::Table, path: &mut Vec<String>, found: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        path.push(key);
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match (schema::shape(&names), value) {
            (Some(Shape::Section(_) | Shape::Free), toml::Value::Table(inner)) => {
                collect(inner, path, found);
            }
            (_, value) => {
                found.insert(path.join("."), value);
            }
        }
        path.pop();
    }
}

fn same_meaning(text: String, wanted: &str) -> Option<String> {
    let meaning = |text: &str| text.parse::<toml::Table>().ok();
    let is_same = meaning(&text).zip(meaning(wanted)).is_some_and(|(a, b)| {
        let filled = |table: toml::Table| without_empty(toml::Value::Table(table));
        filled(a) == filled(b)
    });
    is_same.then_some(text)
}

/// An empty section says as much as none.
fn without_empty(value: toml::Value) -> toml::Value {
    let toml::Value::Table(table) = value else { return value };
    let kept = table.into_iter().map(|(key, value)| (key, without_empty(value)));
    let kept = kept.filter(|(_, value)| value.as_table().is_none_or(|inner| !inner.is_empty()));
    toml::Value::Table(kept.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set_words(text: &str, key: &str, words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        set(text, key, &words).map_err(|problems| problems[0].text.clone())
    }

    #[test]
    fn comments_and_order_are_kept() {
        let text = "# mine\ncontext = 42 # the answer\n\n[boot] # here\nstyle = \"auto\"\n";
        assert_eq!(
            set_words(text, "context", &["43"]).unwrap(),
            "# mine\ncontext = 43 # the answer\n\n[boot] # here\nstyle = \"auto\"\n"
        );
        assert_eq!(
            set_words(text, "boot.stop_timeout", &["90s"]).unwrap(),
            "# mine\ncontext = 42 # the answer\n\n[boot] # here\nstyle = \"auto\"\n\
             stop_timeout = \"90s\"\n"
        );
    }

    #[test]
    fn notes_on_lines_that_are_commented_out_are_kept() {
        let set = |line: &str| {
            let text = format!("[limits]\n{line}\n");
            set_words(&text, "limits.memory", &["1G"]).unwrap()
        };
        for line in ["#memory = \"2G\" until May", "# memory = \"2G\" # contract 118"] {
            assert_eq!(set(line), format!("[limits]\nmemory = \"1G\"\n{line}\n"));
        }
        for line in ["#memory = \"2G\"", "# memory = \"2G\"  ", "#memory=3"] {
            assert_eq!(set(line), "[limits]\nmemory = \"1G\"\n");
        }
    }

    #[test]
    fn words_become_what_the_key_holds() {
        for (key, words, line) in [
            ("hostname", vec!["123"], "hostname = \"123\""),
            ("hostname", vec!["web.example.org"], "hostname = \"web.example.org\""),
            ("autostart", vec!["true"], "autostart = true"),
            ("marks", vec!["a"], "marks = [\"a\"]"),
            ("marks", vec!["a", "b"], "marks = [\"a\", \"b\"]"),
            ("marks", vec!["[\"a\", \"b\"]"], "marks = [\"a\", \"b\"]"),
            ("marks", vec!["[]"], "marks = []"),
            ("boot.runlevel", vec!["3"], "[boot]\nrunlevel = \"3\""),
            ("boot.stop_timeout", vec!["5m"], "[boot]\nstop_timeout = \"5m\""),
            ("boot.environment.LANG", vec!["C"], "[boot.environment]\nLANG = \"C\""),
            ("boot.credentials.a.b", vec!["c"], "[boot.credentials]\n\"a.b\" = \"c\""),
            (
                "boot.credentials.a.b",
                vec!["{ file = \"/etc/b\" }"],
                "[boot.credentials]\n\"a.b\" = { file = \"/etc/b\" }",
            ),
        ] {
            let text = set_words("", key, &words).unwrap();
            assert!(text.contains(line), "{key}: {text}");
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for (key, word, wanted) in [
            ("context", "1", "'context': a context is a number from 2 to 49151, not 1"),
            ("boot.stile", "auto", "there is no key 'boot.stile'"),
            ("boot", "auto", "'boot' is a section"),
            (
                "boot.style",
                "sysvv",
                "'boot.style' is one of auto, sysv, busybox, rc, init, not 'sysvv'",
            ),
        ] {
            assert_eq!(set_words("", key, &[word]), Err(wanted.to_owned()));
        }
        assert!(set_words("", "autostart", &["perhaps"]).is_err());
        assert!(set_words("", "hostname", &["a", "b"]).is_err());
    }

    #[test]
    fn a_commented_line_is_used_and_comes_back() {
        let text =
            "#hostname = \"web\"\n[boot]\n# Until killed.\n#stop_timeout = \"1m\"\n\n[console]\n";
        let set = set_words(text, "boot.stop_timeout", &["90s"]).unwrap();
        assert_eq!(
            set,
            "#hostname = \"web\"\n[boot]\n# Until killed.\nstop_timeout = \"90s\"\n\n[console]\n"
        );
        let unset = unset(&set, "boot.stop_timeout").unwrap();
        assert_eq!(
            unset,
            "#hostname = \"web\"\n[boot]\n# Until killed.\n#stop_timeout = \"90s\"\n\n[console]\n"
        );
        assert_eq!(super::unset(&unset, "boot.stop_timeout").unwrap(), unset);
    }

    #[test]
    fn a_part_of_a_line_is_taken_out_of_it() {
        let text = "[security]\ncapabilities = { add = [\"mknod\"], drop = [\"kill\"] }\n";
        let unset = unset(text, "security.capabilities.add").unwrap();
        assert_eq!(unset, "[security]\ncapabilities = { drop = [\"kill\"] }\n");
    }

    #[test]
    fn a_key_that_is_none_is_taken_out_if_it_stands_there() {
        let text = "context = 42\nfoo = 1\n[boot]\nstile = \"auto\"\n";
        let text = unset(text, "foo").unwrap();
        assert_eq!(text, "context = 42\n[boot]\nstile = \"auto\"\n");
        assert_eq!(unset(&text, "boot.stile").unwrap(), "context = 42\n[boot]\n");
        assert!(unset(&text, "foo").is_err());
        assert!(unset(&text, "boot").is_err());
    }

    #[test]
    fn what_differs_is_told_by_keys() {
        let before = "context = 42\n[boot]\nstyle = \"auto\"\nenvironment = { A = \"1\" }\n";
        let after = "context = 42\nboot.environment = { A = \"1\", B = \"2\" }\n\
                     [security]\ncapabilities = { add = [\"mknod\"] }\n";
        let wanted = ["boot.environment.B", "boot.style", "security.capabilities.add"];
        assert_eq!(changed_keys(before, after), wanted);
        assert!(changed_keys(after, &format!("# x\n{after}")).is_empty());
    }

    #[test]
    fn a_name_with_dots_is_set_and_unset() {
        let text = set_words("", "boot.credentials.firstboot.timezone", &["UTC"]).unwrap();
        let text = set_words(&text, "boot.credentials.firstboot.timezone", &["CET"]).unwrap();
        assert!(text.ends_with("[boot.credentials]\n\"firstboot.timezone\" = \"CET\"\n"), "{text}");
        let text = unset(&text, "boot.credentials.firstboot.timezone").unwrap();
        assert!(
            text.ends_with("[boot.credentials]\n#\"firstboot.timezone\" = \"CET\"\n"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn what_was_set_is_read(grace in 0u32..60, mark in "[ -~]{1,12}", level in "[0-9sS]") {
            let mark = mark.replace(char::is_whitespace, "_");
            let text = set_words("# top\n", "boot.kill_grace", &[&grace.to_string()]).unwrap();
            let text = set_words(&text, "boot.runlevel", &[&level]).unwrap();
            let text = set_words(&text, "marks", &[&mark, "x"]).unwrap();
            let config = super::super::parse::parse(&text).unwrap();
            prop_assert_eq!(config.boot.kill_grace.as_secs(), u64::from(grace));
            prop_assert_eq!(config.boot.runlevel.unwrap().as_char(), level.to_uppercase().chars().next().unwrap());
            prop_assert!(text.contains("# top\n"));
            if !mark.starts_with(['"', '\'', '[', '{']) && mark.parse::<f64>().is_err() {
                prop_assert_eq!(&config.marks, &[mark, "x".to_owned()]);
            }
        }

        #[test]
        fn no_text_and_no_word_makes_it_panic(text in "\\PC{0,60}", key in "[a-z._]{0,20}", word in "\\PC{0,20}") {
            let _ = set(&text, &key, std::slice::from_ref(&word));
            let _ = set("", "boot.style", &[word]);
            let _ = unset(&text, &key);
        }
    }
}
