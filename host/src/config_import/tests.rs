//! What holds for any text.

mod examples;
mod limits;
mod meanings;

use proptest::prelude::*;

use super::*;
use crate::config::{parse, template};

fn text(path: &str, text: &str) -> File {
    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
    File { path: path.to_owned(), name, content: Content::Text(text.to_owned()) }
}

fn tree(entries: &[(&str, &str)]) -> Vec<File> {
    let content = |name: &str, text: &str| match text.strip_prefix("-> ") {
        Some(to) => Content::Link(to.to_owned()),
        None if name.starts_with("scripts/") => Content::Script,
        None => Content::Text(text.to_owned()),
    };
    let file = |(name, text): &(&str, &str)| File {
        path: format!("/etc/vservers/web/{name}"),
        name: (*name).to_owned(),
        content: content(name, text),
    };
    entries.iter().map(file).collect()
}

/// Text that has much in common with a configuration of this format.
fn near(format: Format) -> impl Strategy<Value = String> {
    let written = |key: &str| match key.split_once('.') {
        Some((section, key)) if format == Format::Nspawn => format!("[{section}]\n{key}"),
        _ => key.to_owned(),
    };
    let keys = format.rules().iter().map(|rule| written(&rule.key.replace('*', "0")));
    let keys: Vec<String> = keys.collect();
    let values = prop_oneof![
        "[ -~]{0,20}",
        "(192\\.0\\.2\\.[0-9]{1,3}|yes|no|[0-9]{1,20}|max|0:[0-9]{1,9}[kMGP]?|veth|br0|CAP_KILL|c 1:3 rwm)",
        "(/a|/b) (/c|d|/) (none|tmpfs|ext4) (bind|ro|size=1m)(,noatime|,x)? 0 0",
    ];
    let lines = (proptest::sample::select(keys), values, "( = |=|=|: )");
    proptest::collection::vec(lines, 0..20).prop_map(|lines| {
        let line = |(key, value, between)| format!("{key}{between}{value}\n");
        lines.into_iter().map(line).collect()
    })
}

fn any_format() -> impl Strategy<Value = Format> {
    proptest::sample::select(FORMATS.to_vec())
}

/// Everything that is said is translated, needless or reported, and what is
/// made is right.
fn holds(format: Format, files: &[File]) -> Result<(), TestCaseError> {
    let settings = format.settings(files);
    let import = import(format, files);
    let same: Vec<&Setting> = import.settings.iter().map(|(setting, _)| setting).collect();
    prop_assert_eq!(settings.iter().collect::<Vec<_>>(), same);
    let text = template::render(&import.config).unwrap();
    prop_assert_eq!(parse::parse(&text), Ok(import.config));
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_translated_or_reported(format in any_format(), said in "\\PC{0,200}|[ -~\n\t]{0,200}") {
        let mut files = tree(&[("context", &said), ("interfaces/0/ip", &said), ("fstab", &said), ("cflags", &said)]);
        files.push(text("a/101.conf", &said));
        holds(format, &files)?;
    }

    #[test]
    fn anything_near_a_configuration_is_translated_or_reported(
        (format, said) in any_format().prop_flat_map(|format| (Just(format), near(format))),
    ) {
        holds(format, &[text("a/101.conf", &said)])?;
    }

    #[test]
    fn every_file_of_a_directory_is_translated_or_reported(
        files in proptest::collection::vec(
            (proptest::sample::select(directory::RULES.iter().map(|rule| rule.key.replace('*', "0")).collect::<Vec<_>>()),
             "[ -~\n]{0,30}|[0-9]{1,12}|15 [0-9] 9"), 0..30),
    ) {
        let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (&**name, &**text)).collect();
        let files = tree(&files);
        let import = import(Format::Directory, &files);
        for file in &files {
            prop_assert!(import.settings.iter().any(|(setting, _)| setting.key == file.name));
        }
        holds(Format::Directory, &files)?;
    }
}
