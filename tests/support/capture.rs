//! What is heard on an interface of the frames that the program `attacker` sends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

/// Frames that arrive somewhere.
pub struct Capture {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Capture {
    /// Listens from now on, until a frame of kind `last` comes. `attacker` runs
    /// that program where the interface is.
    ///
    /// # Panics
    /// When it can't.
    pub fn begin(attacker: Command, interface: &str, last: &str) -> Self {
        Self::of(attacker, ["capture", interface, last])
    }

    /// The same of what the interface's filter has let pass.
    ///
    /// # Panics
    /// When it can't.
    pub fn passed(attacker: Command, interface: &str, last: &str) -> Self {
        Self::of(attacker, ["capture-passed", interface, last])
    }

    fn of(mut attacker: Command, words: [&str; 3]) -> Self {
        attacker.args(words);
        let mut child = attacker.stdout(Stdio::piped()).spawn().expect("the attacker can be run");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("the attacker says that it listens");
        assert_eq!(line, "listening\n");
        Self { child, lines }
    }

    /// What has arrived up to the last frame.
    ///
    /// # Panics
    /// When it has ended otherwise.
    pub fn end(mut self) -> Vec<String> {
        let mut text = String::new();
        self.lines.read_to_string(&mut text).expect("a capture is text");
        self.child.wait().expect("a capture ends");
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        // How the attempt ended.
        assert_eq!(lines.pop().as_deref(), Some("escaped: the last one"));
        lines
    }
}
