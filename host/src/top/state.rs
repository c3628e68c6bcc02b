//! What the screen shows, and what was chosen on it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shared::name::GuestName;

use super::list::List;
use super::rates::{self, Rates};
use super::{Entry, Process, ProcessId, Reading};
use crate::membership::Context;

/// What contexts or processes are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// From the most used of a processor.
    Cpu,
    /// From the most memory.
    Memory,
    /// By name or command.
    Name,
    /// Contexts from the most processes; processes by their pids.
    Processes,
    /// From the most time on processors.
    Time,
    /// By the number of the context; processes by their pids inside.
    Context,
}

impl Sort {
    /// For the screen's title.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "%CPU",
            Self::Memory => "memory",
            Self::Name => "name",
            Self::Processes => "processes",
            Self::Time => "time",
            Self::Context => "context",
        }
    }
}

/// What the user is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Which signal shall this process of the context get?
    Signal(Context, Process),
    /// Shall this guest be stopped?
    Stop(GuestName),
}

/// The whole screen.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) interval: Duration,
    pub(super) contexts: List<Context, Sort>,
    pub(super) processes: List<ProcessId, Sort>,
    /// The context whose processes are shown.
    pub(super) opened: Option<Context>,
    pub(super) question: Option<Question>,
    /// Is a filter being typed?
    pub(super) typing: bool,
    pub(super) message: String,
    pub(super) stopping: BTreeSet<GuestName>,
    now: Reading,
    before: Option<Reading>,
    rates: BTreeMap<Context, Rates>,
    shares: BTreeMap<ProcessId, f64>,
}

impl State {
    /// At the first reading.
    pub fn new(interval: Duration, reading: Reading) -> Self {
        let mut state = Self {
            interval,
            contexts: List::new(Sort::Cpu),
            processes: List::new(Sort::Cpu),
            opened: None,
            question: None,
            typing: false,
            message: String::new(),
            stopping: BTreeSet::new(),
            now: reading,
            before: None,
            rates: BTreeMap::new(),
            shares: BTreeMap::new(),
        };
        state.settle();
        state
    }

    /// The context whose processes are to be read.
    pub fn opened(&self) -> Option<&Context> {
        self.opened.as_ref()
    }

    /// The pause between two readings.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Is the user asked which signal a process shall get?
    pub fn holds(&self) -> bool {
        matches!(self.question, Some(Question::Signal(..)))
    }

    /// Takes the next reading. One that comes early, because the user has
    /// opened a context, is compared with what the last one was compared
    /// with: in a short time little is counted.
    pub fn take(&mut self, reading: Reading) {
        let last = std::mem::replace(&mut self.now, reading);
        let since = self.now.at.saturating_sub(last.at);
        if self.before.is_none() || since >= self.interval / 2 {
            self.before = Some(last);
        }
        self.compare();
        let gone = |context: &Context| !self.now.contexts.iter().any(|e| e.context == *context);
        if let Some(context) = self.opened.take_if(|context| gone(context)) {
            self.message = format!("{} has no processes any more", named(&context));
            self.question = None;
        }
        self.settle();
    }

    /// Says something that has happened.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = text.into();
    }

    /// What the user is asked has no answer any more: this is why.
    pub fn withdraw(&mut self, why: impl Into<String>) {
        self.question = None;
        self.message = why.into();
    }

    /// A guest is down, or isn't: this is what to say.
    pub fn stopped(&mut self, name: &GuestName, text: impl Into<String>) {
        self.stopping.remove(name);
        self.message = text.into();
    }

    /// The contexts that are shown, in their order.
    pub(super) fn contexts(&self) -> Vec<(&Entry, Rates)> {
        let passes = |entry: &&Entry| self.contexts.passes(&entry.line.name);
        let with_rates = |entry| (entry, self.rates_of(entry));
        let mut rows: Vec<_> = self.now.contexts.iter().filter(passes).map(with_rates).collect();
        let number = |entry: &Entry| entry.line.context.unwrap_or(u32::MAX);
        rows.sort_by(|(one, their), (other, others)| {
            let (a, b) = (&one.line.account, &other.line.account);
            let order = match self.contexts.sort {
                Sort::Cpu => most(their.cpu.unwrap_or(-1.0), others.cpu.unwrap_or(-1.0)),
                Sort::Memory => b.processes.resident_bytes.cmp(&a.processes.resident_bytes),
                Sort::Name => one.line.name.cmp(&other.line.name),
                Sort::Processes => b.processes.number.cmp(&a.processes.number),
                Sort::Time => (b.user + b.system).cmp(&(a.user + a.system)),
                Sort::Context => Ordering::Equal,
            };
            order
                .then_with(|| number(one).cmp(&number(other)))
                .then_with(|| one.context.cmp(&other.context))
        });
        rows
    }

    /// The processes that are shown, in their order.
    pub(super) fn processes(&self) -> Vec<(&Process, Option<f64>)> {
        let passes = |process: &&Process| self.processes.passes(&process.command);
        let share = |process: &Process| self.shares.get(&process.id).copied();
        let with_share = |process| (process, share(process));
        let mut rows: Vec<_> = self.now.processes.iter().filter(passes).map(with_share).collect();
        rows.sort_by(|(one, share), (other, others)| {
            let order = match self.processes.sort {
                Sort::Cpu => most(share.unwrap_or(-1.0), others.unwrap_or(-1.0)),
                Sort::Memory => other.resident_bytes.cmp(&one.resident_bytes),
                Sort::Name => one.command.cmp(&other.command),
                Sort::Processes => Ordering::Equal,
                Sort::Time => other.time.cmp(&one.time),
                Sort::Context => one.inner.cmp(&other.inner),
            };
            order.then_with(|| one.id.cmp(&other.id))
        });
        rows
    }

    /// The keys of the lines that are shown of contexts.
    pub(super) fn context_keys(&self) -> Vec<Context> {
        self.contexts().into_iter().map(|(entry, _)| entry.context.clone()).collect()
    }

    /// The same of processes.
    pub(super) fn process_keys(&self) -> Vec<ProcessId> {
        self.processes().into_iter().map(|(process, _)| process.id).collect()
    }

    /// The context that is chosen.
    pub(super) fn chosen_context(&self) -> Option<&Context> {
        self.contexts.chosen()
    }

    /// The process that is chosen.
    pub(super) fn chosen_process(&self) -> Option<&Process> {
        let chosen = self.processes.chosen()?;
        self.now.processes.iter().find(|process| process.id == *chosen)
    }

    /// Lets both choices follow the lines.
    pub(super) fn settle(&mut self) {
        let (contexts, processes) = (self.context_keys(), self.process_keys());
        self.contexts.settle(&contexts);
        self.processes.settle(&processes);
    }

    /// How many processes all contexts have, and what they use of a
    /// processor.
    pub(super) fn sums(&self) -> (u64, f64) {
        let numbers = self.now.contexts.iter().map(|entry| entry.line.account.processes.number);
        // The sum of no numbers would be -0.0.
        let used = self.rates.values().filter_map(|rates| rates.cpu);
        (numbers.sum(), used.fold(0.0, |sum, cpu| sum + cpu))
    }

    fn rates_of(&self, entry: &Entry) -> Rates {
        self.rates.get(&entry.context).copied().unwrap_or_default()
    }

    fn compare(&mut self) {
        let Some(before) = &self.before else { return };
        let span = self.now.at.saturating_sub(before.at);
        let then: BTreeMap<_, _> =
            before.contexts.iter().map(|entry| (&entry.context, &entry.line.account)).collect();
        let now: BTreeMap<_, _> =
            self.now.contexts.iter().map(|entry| (&entry.context, &entry.line.account)).collect();
        self.rates = BTreeMap::new();
        for (context, account) in &now {
            if let Some(before) = then.get(context) {
                let mut rates = Rates::between(before, account, span);
                if **context == Context::Main {
                    rates.cpu = rates::of_host(&then, &now, span);
                }
                self.rates.insert((*context).clone(), rates);
            }
        }
        let then: BTreeMap<_, _> =
            before.processes.iter().map(|process| (process.id, process.time)).collect();
        self.shares = BTreeMap::new();
        for process in &self.now.processes {
            let share = then.get(&process.id);
            let share = share.and_then(|time| rates::percent(*time, process.time, span));
            self.shares.extend(share.map(|share| (process.id, share)));
        }
    }
}

fn most(one: f64, other: f64) -> Ordering {
    other.total_cmp(&one)
}

/// A context in a sentence.
pub(super) fn named(context: &Context) -> String {
    match context {
        Context::Main => "the host".to_owned(),
        Context::Guest(name) => format!("guest '{name}'"),
        Context::Watch | Context::Bare(_) => format!("context {context}"),
    }
}
