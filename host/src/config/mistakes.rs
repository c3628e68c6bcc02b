//! All that is wrong with a guest's configuration, also with what others' say.

use std::collections::BTreeMap;

use shared::name::GuestName;

use super::load::{clash, judge, load, root_taken, text};
use super::parse::Document;
use super::problem::Problem;
use super::{GuestConfig, Neighbours, Order};
use crate::error::Result;
use crate::paths::Paths;

/// What is wrong with a guest's configuration, each problem with its line.
/// That a context is missing or another guest's is among them, that its root is
/// another guest's, and that the guest waits for itself.
///
/// # Errors
/// No such guest, or the files can't be read.
pub fn mistakes(paths: &Paths, name: &GuestName, others: &Neighbours) -> Result<Vec<String>> {
    let own = text(paths, name)?;
    let config = match judge(paths, name, &own)? {
        Ok(config) => config,
        Err(found) => return Ok(found.into_iter().map(|mistake| mistake.shown).collect()),
    };
    let Some(context) = config.context else {
        let command = format!("'vserver config set {name} context N' gives it one");
        let problem = Problem::new("context", "the guest has no context").hint(Some(command));
        return Ok(vec![problem.show(&paths.config(name).display().to_string(), &own)]);
    };
    let clash = clash(paths, name, &own, context, others);
    let taken = others.conflict_of_own(paths, name, &config.root(paths, name));
    let root = root_taken(paths, name, &own, taken);
    Ok(clash.into_iter().chain(root).chain(circle(paths, name, &own, config)).collect())
}

/// The problem that the guest waits for itself, as it is shown.
fn circle(paths: &Paths, name: &GuestName, own: &str, config: GuestConfig) -> Option<String> {
    let is_own = config.after.contains(name);
    let mut waiting = BTreeMap::from([(name.clone(), config.after)]);
    let mut further: Vec<_> = waiting.values().flatten().cloned().collect();
    while let Some(other) = further.pop() {
        waiting.entry(other).or_insert_with_key(|other| {
            // One whose configuration can't be read waits for nobody.
            let after = load(paths, other).map(|config| config.after).unwrap_or_default();
            further.extend(after.iter().cloned());
            after
        });
    }
    let circle = match is_own {
        true => vec![name.clone()],
        false => Order::new(waiting).circle(name),
    };
    let way: Vec<_> = circle.iter().chain(circle.first()).map(GuestName::to_string).collect();
    (!way.is_empty()).then(|| {
        let text = format!("the guest waits for itself: {}", way.join(" after "));
        let hint = "guests of a circle are started without waiting for one another".to_owned();
        let span = Document::read(own).span("after");
        let problem = Problem::new("after", text).hint(Some(hint)).at(span);
        problem.show(&paths.config(name).display().to_string(), own)
    })
}

#[cfg(test)]
mod tests {
    use super::super::doubts;
    use super::super::load::tests::host;
    use super::*;

    fn found(paths: &Paths, name: &str) -> Vec<String> {
        mistakes(paths, &name.parse().unwrap(), &Neighbours::read(paths).unwrap()).unwrap()
    }

    #[test]
    fn two_guests_with_one_context_are_a_mistake() {
        let (_directory, paths) = host(&[("a.toml", "context = 7"), ("b.toml", "context = 7")]);
        let found = found(&paths, "a");
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("context 7 is also guest 'b''s"), "{}", found[0]);
    }

    #[test]
    fn a_guest_that_waits_for_itself_is_a_mistake_and_for_nobody_a_doubt() {
        let text = "context = 7\nafter = [\"a\", \"nosuch\"]";
        let (_directory, paths) = host(&[("a.toml", text)]);
        let found = found(&paths, "a");
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("the guest waits for itself: a after a"), "{}", found[0]);
        let doubts = doubts(&paths, &"a".parse().unwrap());
        assert_eq!(doubts, ["guest 'a' is 'after' 'nosuch', and there is no such guest"]);
    }
}
