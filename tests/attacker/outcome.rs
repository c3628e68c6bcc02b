//! How an attempt ends.

use std::io;

/// Why an attempt did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// It was tried and refused.
    Refused(String),
    /// It couldn't be tried: the test is wrong.
    Untried(String),
}

/// What was reached, or why not.
pub type Attempt = Result<String, Failure>;

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}

/// An attempt that was refused.
pub fn refused<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Refused(text.into()))
}

/// An attempt that couldn't be made.
pub fn untried<T>(text: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Untried(text.into()))
}

/// A number among the arguments.
pub fn number(text: &str) -> Result<i64, Failure> {
    text.parse().or_else(|_| untried(format!("'{text}' is no number")))
}

/// Makes the failure of a preparation one of the test.
pub trait Prepare<T> {
    /// The value, or a failure that names the preparation.
    fn prepare(self, what: &str) -> Result<T, Failure>;
}

impl<T> Prepare<T> for io::Result<T> {
    fn prepare(self, what: &str) -> Result<T, Failure> {
        self.or_else(|error| untried(format!("{what}: {error}")))
    }
}
