//! The command line of the `reducecap` program. Pure.
//!
//! By hand in a few lines, and not by the parser of the other programs: it
//! runs with a privilege that its caller doesn't have.

use std::ffi::OsString;

use lexopt::Arg::{Long, Short, Value};
use lexopt::{Parser, ValueExt};

use super::sets::Changes;

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Keep only util-vserver's set (`--secure`).
    pub secure: bool,
    /// `--cap`.
    pub changes: Changes,
    /// Print the sets (`--show`).
    pub show: bool,
    /// Those of another process (`--pid`).
    pub pid: Option<u32>,
    /// What to execute, and its arguments.
    pub command: Vec<OsString>,
}

impl Request {
    /// Is something asked for, and nothing that contradicts it?
    ///
    /// # Errors
    /// One sentence.
    pub fn check(self) -> Result<Self, String> {
        if self.pid.is_some() && !self.show {
            return Err("'--pid' only goes with '--show'".into());
        }
        let other = self.pid.is_some();
        if other && (self.secure || self.changes != Changes::default()) {
            return Err("another process's capabilities can't be changed".into());
        }
        if other && !self.command.is_empty() {
            return Err("'--pid' shows another process, and takes no command".into());
        }
        if !self.show && self.command.is_empty() {
            return Err("no command is given".into());
        }
        Ok(self)
    }
}

/// What the program was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// The usual.
    Do(Request),
    /// `--help`
    Help,
    /// `--version`
    Version,
}

/// Reads the arguments behind the program's name. Options end at the first
/// word that is none: the rest is the command's.
///
/// # Errors
/// One sentence about what is wrong.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Order, String> {
    let mut parser = Parser::from_args(arguments);
    let mut request = Request::default();
    loop {
        let text = |error: lexopt::Error| error.to_string();
        match parser.next().map_err(text)? {
            None => break,
            Some(Long("secure")) => request.secure = true,
            Some(Long("cap")) => {
                let list = parser.value().map_err(text)?;
                let list = list.to_str().ok_or("a capability's name is plain text")?;
                request.changes.add(list)?;
            }
            Some(Long("show")) => request.show = true,
            Some(Long("pid")) => {
                request.pid = Some(parser.value().and_then(|pid| pid.parse()).map_err(text)?);
            }
            Some(Long("help") | Short('h')) => return Ok(Order::Help),
            Some(Long("version") | Short('V')) => return Ok(Order::Version),
            Some(Value(command)) => {
                request.command.push(command);
                request.command.extend(parser.raw_args().map_err(text)?);
                break;
            }
            Some(other) => return Err(other.unexpected().to_string()),
        }
    }
    request.check().map(Order::Do)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn parsed(line: &str) -> Result<Order, String> {
        parse(line.split_ascii_whitespace().map(OsString::from))
    }

    #[test]
    fn options_end_at_the_command() {
        for line in ["--secure -- ls --show -l", "--secure ls --show -l"] {
            let Ok(Order::Do(request)) = parsed(line) else { panic!("{line}") };
            assert!(request.secure && !request.show);
            assert_eq!(request.command, ["ls", "--show", "-l"]);
        }
        let Ok(Order::Do(request)) = parsed("-- -- x") else { panic!() };
        assert_eq!(request.command, ["--", "x"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "--",
            "--secure",
            "--pid 1",
            "--show --pid 1 ls",
            "--show --pid 1 --secure",
            "--show --pid x",
            "--show --pid -1",
            "--cap",
            "--cap nonsense ls",
            "--frob ls",
            "-x ls",
            "--secure=yes ls",
        ] {
            assert!(parsed(line).is_err(), "{line:?} was taken");
        }
        let bytes = OsString::from_vec(vec![0xff, 0xfe]);
        assert!(parse([OsString::from("--cap"), bytes.clone()]).is_err());
        assert!(parse([OsString::from("--"), bytes.clone()]).is_ok());
        assert!(parse([bytes]).is_ok());
    }

    #[test]
    fn help_and_version_win() {
        assert_eq!(parsed("--secure --help"), Ok(Order::Help));
        assert_eq!(parsed("-V x"), Ok(Order::Version));
        assert!(matches!(parsed("x --help"), Ok(Order::Do(_))));
    }
}
