//! The sources of the workspace as text.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file.
pub struct Source {
    /// Its path from the workspace's root.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl Source {
    /// Its lines with their numbers, without comments.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.text.lines().enumerate().map(|(number, line)| (number + 1, line));
        numbered.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Its lines up to its unit tests.
    pub fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.text.lines().position(|line| line.trim() == "#[cfg(test)]");
        self.code_lines().take_while(move |(number, _)| tests.is_none_or(|tests| *number <= tests))
    }
}

/// The workspace's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file of the workspace.
pub fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for member in ["host", "guest-init", "shared", "tests"] {
        collect(&root(), Path::new(member), &mut found);
    }
    assert!(found.len() > 20, "only {} sources were found", found.len());
    found
}

fn collect(root: &Path, directory: &Path, found: &mut Vec<Source>) {
    let entries = fs::read_dir(root.join(directory)).expect("a directory of the workspace");
    for entry in entries.flatten() {
        let name = entry.file_name();
        let path = directory.join(&name);
        let hidden = name.to_string_lossy().starts_with('.');
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !hidden && name != "target" {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path)).expect("a source can be read");
            found.push(Source { path: path.to_string_lossy().into_owned(), text });
        }
    }
}

/// Does the line hold this word, outside of quotes and lint names?
pub fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(place, _)| {
        let before = line[..place].chars().next_back();
        let after = line[place + word.len()..].chars().next();
        let quoted = line[..place].matches('"').count() % 2 == 1;
        !quoted && !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}
