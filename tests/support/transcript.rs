//! What a test program prints, read line by line: the outcome of each test.

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Passed,
    /// With what it had printed.
    Failed(String),
}

/// The output of one test program so far.
#[derive(Debug, Default)]
pub struct Transcript {
    failed: Vec<String>,
    section: Option<(String, String)>,
}

impl Transcript {
    /// Takes the next line, and returns the tests that have ended with it. A
    /// failed one is returned when the program shows what it had printed.
    pub fn take(&mut self, line: &str) -> Vec<(String, Outcome)> {
        if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            let before = self.close();
            self.failed.retain(|failed| failed != name);
            self.section = Some((name.to_owned(), String::new()));
            return before;
        }
        // The second of the two lists that are headed so has only names.
        if line == "failures:" || line.starts_with("test result: ") {
            let mut ended = self.close();
            if line != "failures:" {
                let silent = self.failed.drain(..);
                ended.extend(silent.map(|name| (name, Outcome::Failed("it says nothing".into()))));
            }
            return ended;
        }
        if let Some((_, text)) = &mut self.section {
            text.push_str(line);
            text.push('\n');
            return Vec::new();
        }
        let Some((name, result)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return Vec::new();
        };
        match result {
            "ok" => return vec![(name.to_owned(), Outcome::Passed)],
            "FAILED" => self.failed.push(name.to_owned()),
            _ => {}
        }
        Vec::new()
    }

    fn close(&mut self) -> Vec<(String, Outcome)> {
        let section = self.section.take();
        section
            .map(|(name, text)| (name, Outcome::Failed(text.trim_end().to_owned())))
            .into_iter()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Transcript};

    fn read(text: &str) -> Vec<(String, Outcome)> {
        let mut transcript = Transcript::default();
        text.lines().flat_map(|line| transcript.take(line)).collect()
    }

    #[test]
    fn passed_tests_are_known_at_once() {
        let mut transcript = Transcript::default();
        assert_eq!(transcript.take("running 2 tests"), []);
        let ended = transcript.take("test a::b::C ... ok");
        assert_eq!(ended, [("a::b::C".to_owned(), Outcome::Passed)]);
    }

    #[test]
    fn failed_tests_come_with_what_they_said() {
        let all = read(
            "test a ... FAILED\ntest b ... ok\ntest c ... FAILED\n\nfailures:\n\n\
             ---- a stdout ----\nfirst\ntest b ... ok\n\n---- c stdout ----\nsecond\n\n\
             failures:\n    a\n    c\n\ntest result: FAILED. 1 passed; 2 failed",
        );
        let failed = |name: &str, why: &str| (name.to_owned(), Outcome::Failed(why.to_owned()));
        assert_eq!(
            all,
            [
                ("b".to_owned(), Outcome::Passed),
                failed("a", "first\ntest b ... ok"),
                failed("c", "second"),
            ]
        );
    }

    #[test]
    fn a_failed_test_that_said_nothing_is_not_lost() {
        let all =
            read("test a ... FAILED\n\nfailures:\n\nfailures:\n    a\n\ntest result: FAILED.");
        assert!(matches!(&all[..], [(name, Outcome::Failed(_))] if name == "a"), "{all:?}");
    }

    #[test]
    fn a_program_that_ends_early_leaves_its_failures_open() {
        assert_eq!(read("test a ... FAILED\ntest b has been running for over 60 seconds"), []);
    }
}
