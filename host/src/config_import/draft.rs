//! From translated settings to a configuration that is right. Pure.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::{Outcome, Part, Setting};
use crate::config::GuestConfig;
use crate::config::parse::{self, Document};
use crate::config::problem::Problem;
use crate::config::schema::{self, Shape};

/// The configuration that all translated settings make. What vserver's own
/// checker refuses is without counterpart, for the checker's reason; of two
/// settings of one value the later one counts.
pub(super) fn settle(settings: &[Setting], outcomes: &mut [Outcome]) -> GuestConfig {
    for outcome in outcomes.iter_mut() {
        if let Outcome::Ours { parts, .. } = outcome
            && let Some(problem) = alone(parts)
        {
            *outcome = Outcome::Missing(said(&problem));
        }
    }
    loop {
        replace(settings, outcomes);
        let problems = match judge(outcomes) {
            Ok(config) => return config,
            Err(problems) => problems,
        };
        // One after the other, as one may be the reason of others; but not
        // where somebody has written a thousand.
        let number = if problems.len() < MANY { 1 } else { problems.len() };
        for problem in problems.iter().take(number) {
            let Some(at) = culprit(problem, outcomes, number == 1) else {
                // Nothing is translated, and that is right.
                return GuestConfig::default();
            };
            if let Some(outcome) = outcomes.get_mut(at) {
                *outcome = Outcome::Missing(said(problem));
            }
        }
    }
}

/// So many problems aren't looked at one by one.
const MANY: usize = 50;

fn judge(outcomes: &[Outcome]) -> Result<GuestConfig, Vec<Problem>> {
    parse::parse(&text(outcomes.iter().flat_map(parts)))
}

/// What is wrong with these values by themselves.
fn alone(parts: &[Part]) -> Option<Problem> {
    let text = text(parts.iter());
    Document::read(&text).problems().first().cloned()
}

fn said(problem: &Problem) -> String {
    let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}{hint}", problem.text)
}

/// The setting that is to go because of a problem: the last one without which
/// it isn't there (if that is to be `tried`), of its key, or else of its
/// section, or else of all.
fn culprit(problem: &Problem, outcomes: &[Outcome], tried: bool) -> Option<usize> {
    let section = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
    let near: [&dyn Fn(&Part) -> bool; 4] = [
        &|part| part.key == problem.key,
        &|part| problem.key.starts_with(part.key) || part.key.starts_with(&problem.key),
        &|part| section(part.key) == section(&problem.key),
        &|_| true,
    ];
    let of = |near: &dyn Fn(&Part) -> bool| -> Vec<usize> {
        let all = outcomes.iter().enumerate().rev();
        all.filter(|(_, outcome)| parts(outcome).any(near)).map(|(at, _)| at).collect()
    };
    let candidates = near.iter().map(|near| of(near)).find(|found| !found.is_empty())?;
    let helps = |at: &&usize| {
        let others = outcomes.iter().enumerate().filter(|(other, _)| other != *at);
        let found = parse::parse(&text(others.flat_map(|(_, outcome)| parts(outcome))));
        let is_same = |other: &Problem| (&other.key, &other.text) == (&problem.key, &problem.text);
        !found.is_err_and(|found| found.iter().any(is_same))
    };
    let one = candidates.iter().filter(|_| tried).take(MANY).find(helps);
    one.or(candidates.first()).copied()
}

fn parts(outcome: &Outcome) -> impl Iterator<Item = &Part> {
    let parts = match outcome {
        Outcome::Ours { parts, .. } => parts.as_slice(),
        _ => &[],
    };
    parts.iter()
}

/// Settings all of whose values a later one replaces needn't be said.
fn replace(settings: &[Setting], outcomes: &mut [Outcome]) {
    let mut last = BTreeMap::new();
    for (at, outcome) in outcomes.iter().enumerate() {
        for part in parts(outcome).filter(|part| !is_list(part.key)) {
            last.insert((part.key, part.entry.clone()), at);
        }
    }
    for (at, outcome) in outcomes.iter_mut().enumerate() {
        let by = parts(outcome).map(|part| last.get(&(part.key, part.entry.clone())).copied());
        let by: Option<Vec<usize>> = by.map(|by| by.filter(|by| *by > at)).collect();
        if let Some(by) = by.and_then(|by| by.into_iter().max())
            && let Some(setting) = settings.get(by)
        {
            *outcome =
                Outcome::Fine(format!("'{}' says this, in line {}", setting.key, setting.line));
        }
    }
}

fn is_list(key: &str) -> bool {
    schema::shape(&key.split('.').collect::<Vec<_>>()) == Some(Shape::List)
}

/// The text of a configuration that has these values.
fn text<'p>(parts: impl Iterator<Item = &'p Part>) -> String {
    let mut table = Table::new();
    for part in parts {
        let path: Vec<&str> = part.key.split('.').chain(part.entry.as_deref()).collect();
        put(&mut table, &path, &part.value);
    }
    // Text, numbers and lists of them: nothing here can fail.
    toml::to_string(&table).unwrap_or_default()
}

fn put(table: &mut Table, path: &[&str], value: &Value) {
    match path {
        [] => {}
        [key] => match (table.get_mut(*key), value) {
            (Some(Value::Array(all)), Value::Array(more)) => {
                let new = more.iter().filter(|new| !all.contains(new)).cloned();
                let new: Vec<Value> = new.collect();
                all.extend(new);
            }
            _ => {
                table.insert((*key).to_owned(), value.clone());
            }
        },
        [section, rest @ ..] => {
            let inner = table.entry((*section).to_owned()).or_insert(Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
