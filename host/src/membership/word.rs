//! How a context is named on a command line. Pure.

use shared::name::GuestName;

/// A context, as util-vserver's tools take it everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// By its number.
    Number(u32),
    /// That of the calling process (`self`).
    Own,
    /// By its name; `:NAME` where the name looks like something else. `MAIN`
    /// and `ALL_PROC` are the contexts 0 and 1.
    Name(GuestName),
}

impl std::str::FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix(':') {
            return name.parse().map(Self::Name).map_err(|error| format!("{error}"));
        }
        match text {
            "self" => return Ok(Self::Own),
            "MAIN" => return Ok(Self::Number(0)),
            "ALL_PROC" => return Ok(Self::Number(1)),
            _ => {}
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            let number = text.parse().ok().filter(|number| *number <= MAX);
            return number
                .map(Self::Number)
                .ok_or_else(|| format!("a context is a number from 0 to {MAX}, not {text}"));
        }
        text.parse().map(Self::Name).map_err(|error| format!("{error}"))
    }
}

/// The largest number of a context.
pub const MAX: u32 = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_self() {
        let word = |text: &str| text.parse::<Word>();
        assert_eq!(word("42"), Ok(Word::Number(42)));
        assert_eq!(word("MAIN"), Ok(Word::Number(0)));
        assert_eq!(word("ALL_PROC"), Ok(Word::Number(1)));
        assert_eq!(word("self"), Ok(Word::Own));
        assert_eq!(word(":self"), Ok(Word::Name("self".parse().unwrap())));
        assert_eq!(word(":42"), Ok(Word::Name("42".parse().unwrap())));
        assert_eq!(word("web"), Ok(Word::Name("web".parse().unwrap())));
        for wrong in ["", ":", "-1", "65536", "99999999999", "a/b", "::a"] {
            assert!(word(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
