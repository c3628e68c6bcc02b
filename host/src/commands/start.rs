//! `vserver start`.

use shared::name::GuestName;

use crate::cli::{Guests, StartArgs};
use crate::commands::{Exit, dry_run, each_of, foreground, lifecycle, select};
use crate::control::Limit;
use crate::error::{Error, Result};
use crate::paths::Paths;

/// Boots guests, side by side when there are several.
pub(super) fn run(args: &StartArgs, paths: &Paths) -> Result<Exit> {
    let names = select::guests_to_start(&args.guests, paths)?;
    let wanted = lifecycle::Start {
        no_wait: args.no_wait,
        limit: args.timeout.map_or_else(|| limit(&args.guests), Limit::Total),
        ephemeral: args.ephemeral,
        rescue: args.rescue.clone(),
        foreground: args.foreground,
    };
    if args.dry_run {
        return dry_run::start(&names, paths);
    }
    if args.foreground {
        let [name] = names.as_slice() else {
            return Err(Error::usage("--foreground takes one guest"));
        };
        return foreground::run(name, paths, &wanted);
    }
    let groups = select::in_order(&names, paths);
    each_of(groups, |name: &GuestName| {
        lifecycle::start(paths, name, &wanted, &|| Ok(()))?;
        Ok(Exit::DONE)
    })
}

/// How long the boots of these guests are waited for: one of several isn't to keep the
/// others back, nor the host's own boot.
pub(super) fn limit(guests: &Guests) -> Limit {
    match guests.names.as_slice() {
        [_] => Limit::None,
        _ => Limit::Usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_keeps_nobody_back() {
        let named = |names: &[&str]| Guests {
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..Guests::default()
        };
        assert_eq!(limit(&named(&["web"])), Limit::None);
        assert_eq!(limit(&named(&["web", "db"])), Limit::Usual);
        for chosen in [
            Guests { enabled: true, ..Guests::default() },
            Guests { all: true, ..Guests::default() },
            Guests { mark: vec!["db".into()], ..Guests::default() },
        ] {
            assert_eq!(limit(&chosen), Limit::Usual);
        }
    }
}
