//! What `vps` adds to the output of ps(1): a column behind the pid's.

/// Which context a process is in, as the column shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The host, context 0.
    Main,
    /// Context 1, which sees all.
    Watch,
    /// A guest or another context. Its number may be unknown to this user.
    Context(Option<u32>, String),
    /// The process has ended, or can't be looked at.
    Unknown,
}

/// How wide the column is, with the space that ends it.
pub const WIDTH: usize = 20;

/// Longest name that fits.
const NAME: usize = 13;

impl Shown {
    /// util-vserver's column (its src/vps.c): number, name, padding.
    fn column(&self) -> String {
        let text = match self {
            Self::Main => "    0 MAIN".to_owned(),
            Self::Watch => "    1 ALL_PROC".to_owned(),
            Self::Context(Some(number), name) => format!("{number:>5} {name:.NAME$}"),
            Self::Context(None, name) => format!("    ? {name:.NAME$}"),
            Self::Unknown => "ERR ".to_owned(),
        };
        format!("{text:<WIDTH$}")
    }
}

/// A word of a line: where it begins and ends.
type Word = (usize, usize);

/// Inserts the column behind the pid's in every line. Output without a pid
/// column, such as that of `ps --help`, stays as it is.
pub fn with_contexts(output: &[u8], mut context: impl FnMut(i32) -> Shown) -> Vec<u8> {
    let mut lines = output.split_inclusive(|byte| *byte == b'\n');
    let Some(header) = lines.next() else { return Vec::new() };
    let titles = words(header);
    let is_pid = |word: &Word| header.get(word.0..word.1) == Some(b"PID");
    let Some(index) = titles.iter().position(is_pid) else { return output.to_vec() };
    let end = titles.get(index).map_or(0, |word| word.1);

    let mut whole = Vec::with_capacity(output.len() * 3 / 2);
    insert(&mut whole, header, end, &format!("{:<WIDTH$}", "CONTEXT"));
    for line in lines {
        // Titles again, every page (ps --headers).
        if line == header {
            insert(&mut whole, line, end, &format!("{:<WIDTH$}", "CONTEXT"));
            continue;
        }
        match pid(line, index, end) {
            Some((pid, end)) => insert(&mut whole, line, end, &context(pid).column()),
            None => whole.extend_from_slice(line),
        }
    }
    whole
}

/// The pid in a line, and where it ends: under the end of its title, as the
/// column is right-aligned. Where a longer word in front has pushed it to the
/// right, it is still the word of the same number.
fn pid(line: &[u8], index: usize, end: usize) -> Option<(i32, usize)> {
    let words = words(line);
    let aligned = words.iter().find(|word| word.1 == end);
    let number = |word: &Word| -> Option<(i32, usize)> {
        let text = std::str::from_utf8(line.get(word.0..word.1)?).ok()?;
        Some((text.parse().ok()?, word.1))
    };
    aligned.and_then(number).or_else(|| words.get(index).and_then(number))
}

fn words(line: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, byte) in line.iter().enumerate().chain([(line.len(), &b'\n')]) {
        match (start, matches!(byte, b' ' | b'\n')) {
            (None, false) => start = Some(at),
            (Some(begin), true) => {
                words.push((begin, at));
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// Inserts the column behind the space that follows the pid.
fn insert(whole: &mut Vec<u8>, line: &[u8], end: usize, column: &str) {
    let (before, after) = line.split_at(end.min(line.len()));
    whole.extend_from_slice(before);
    whole.push(b' ');
    match after.strip_prefix(b" ") {
        Some(rest) => {
            whole.extend_from_slice(column.as_bytes());
            whole.extend_from_slice(rest);
        }
        // The pid is the last column.
        None => {
            whole.extend_from_slice(column.trim_end().as_bytes());
            whole.extend_from_slice(after);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contexts(pid: i32) -> Shown {
        match pid {
            1 => Shown::Main,
            2 => Shown::Watch,
            813 => Shown::Context(Some(40_001), "web1".into()),
            814 => Shown::Context(Some(7), "a-very-long-name".into()),
            815 => Shown::Context(None, "web".into()),
            _ => Shown::Unknown,
        }
    }

    fn shown(output: &str) -> String {
        String::from_utf8(with_contexts(output.as_bytes(), contexts)).unwrap()
    }

    #[test]
    fn the_layout_is_util_vservers() {
        let given = "  PID TTY      STAT   TIME COMMAND\n    1 ?        Ss     0:01 /sbin/init\n\
                     \x20   2 ?        S      0:00 top\n  813 ?        Ss     0:00 sshd: 12 x\n\
                     \x20 814 ?        Ss     0:00 a\n  815 ?        Ss     0:00 a\n\
                     \x20 999 ?        R+     0:00 ps x\n";
        let wanted = "  PID CONTEXT             TTY      STAT   TIME COMMAND\n\
                      \x20   1     0 MAIN          ?        Ss     0:01 /sbin/init\n\
                      \x20   2     1 ALL_PROC      ?        S      0:00 top\n\
                      \x20 813 40001 web1          ?        Ss     0:00 sshd: 12 x\n\
                      \x20 814     7 a-very-long-n ?        Ss     0:00 a\n\
                      \x20 815     ? web           ?        Ss     0:00 a\n\
                      \x20 999 ERR                 ?        R+     0:00 ps x\n";
        assert_eq!(shown(given), wanted);
    }

    #[test]
    fn the_column_follows_the_pid_wherever_that_stands() {
        let given = "UID          PID    PPID CMD\nroot           1       0 /sbin/init\n\
                     a-long-name-here     813       1 813 1\n";
        let wanted = "UID          PID CONTEXT                PPID CMD\n\
                      root           1     0 MAIN                0 /sbin/init\n\
                      a-long-name-here     813 40001 web1                1 813 1\n";
        assert_eq!(shown(given), wanted);
        assert_eq!(
            shown("COMMAND PID\na b       1\n"),
            "COMMAND PID CONTEXT\na b       1     0 MAIN\n"
        );
    }

    #[test]
    fn what_has_no_pids_stays_as_it_is() {
        for output in ["", "\n", "COMMAND\n1 PID\n", "Usage:\n ps [options]\n", "PPID\n 1\n"] {
            assert_eq!(shown(output), output);
        }
    }

    #[test]
    fn bytes_that_are_no_text_pass() {
        let given = b"  PID CMD\n    1 \xff\xfe\n";
        let shown = with_contexts(given, contexts);
        assert!(shown.ends_with(b"    1     0 MAIN          \xff\xfe\n"));
    }
}
