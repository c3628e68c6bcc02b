//! The state as a screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::columns::{context_row, context_titles, process_row, process_titles};
use super::list::window;
use super::state::{Question, State, named};
use crate::report::printable;

/// Keys of the table of contexts.
const CONTEXTS: &str =
    "Sort: c cpu m mem n name p procs t time x ctx  Enter open s stop / filter q quit";

/// Keys of the table of processes.
const PROCESSES: &str =
    "Sort: c cpu m mem n name p pid t time x inside  Esc back k kill / filter q quit";

/// Draws the whole screen: a title, the table, one line for questions and
/// messages, one for keys.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let width = usize::from(area.width);
    let room = usize::from(area.height.saturating_sub(4));
    let (titles, rows, chosen) = table(state, width, room);
    let (note, keys) = bottom(state);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let reversed = Style::new().add_modifier(Modifier::REVERSED);

    let mut lines = vec![(title(state), bold), (titles, reversed)];
    let body = rows.into_iter().enumerate();
    lines.extend(body.map(|(at, row)| (row, if at == chosen { reversed } else { Style::new() })));
    lines.truncate(usize::from(area.height.saturating_sub(2)));
    for (at, (text, style)) in (0_u16..).zip(lines) {
        put(frame, at, text, style);
    }
    put(frame, area.height.saturating_sub(2), note, bold);
    put(frame, area.height.saturating_sub(1), keys, reversed);
}

/// One line over the whole width; what is too long is cut off.
fn put(frame: &mut Frame<'_>, at: u16, text: String, style: Style) {
    let area = frame.area();
    let line = Rect { y: at, height: 1, ..area }.intersection(area);
    if !line.is_empty() {
        frame.render_widget(Line::from(text).style(style), line);
    }
}

/// Titles, the rows that fit, and which of them is chosen.
fn table(state: &State, width: usize, room: usize) -> (String, Vec<String>, usize) {
    if state.opened.is_some() {
        let rows = state.processes();
        let shown = window(rows.len(), state.processes.at(), room);
        let chosen = state.processes.at().saturating_sub(shown.start);
        let shown = rows.get(shown).unwrap_or_default();
        let rows = shown.iter().map(|(process, share)| process_row(process, *share));
        return (process_titles(), rows.collect(), chosen);
    }
    let rows = state.contexts();
    let shown = window(rows.len(), state.contexts.at(), room);
    let chosen = state.contexts.at().saturating_sub(shown.start);
    let shown = rows.get(shown).unwrap_or_default();
    let rows = shown.iter().map(|(entry, rates)| context_row(entry, rates, width));
    (context_titles(width), rows.collect(), chosen)
}

fn title(state: &State) -> String {
    let (every, filter, sort) = match &state.opened {
        Some(context) => {
            let what = format!("{}, processes: {}", named(context), state.processes().len());
            (what, &state.processes.filter, state.processes.sort)
        }
        None => {
            let (processes, cpu) = state.sums();
            let contexts = state.contexts().len();
            let what = format!("contexts: {contexts}, processes: {processes}, CPU: {cpu:.1} %");
            (what, &state.contexts.filter, state.contexts.sort)
        }
    };
    let filter = match filter.as_str() {
        "" => String::new(),
        text => format!(", with '{}'", printable(text)),
    };
    let seconds = state.interval.as_secs_f64();
    format!("vserver top  {every}{filter}, by {}, every {seconds} s", sort.name())
}

/// The line of messages and that of keys.
fn bottom(state: &State) -> (String, String) {
    match &state.question {
        Some(Question::Signal(context, process)) => {
            let ends = if process.inner == 1 { ", which ends all others" } else { "" };
            let note = format!(
                "Signal to '{}', pid {} ({} inside{ends}), of {}?",
                printable(&process.name),
                process.id.pid,
                process.inner,
                named(context)
            );
            (note, "t SIGTERM  K SIGKILL  Esc nothing".to_owned())
        }
        Some(Question::Stop(name)) => (format!("Stop guest '{name}'?"), "y yes  Esc no".to_owned()),
        None if state.typing => {
            let filter = match state.opened {
                Some(_) => &state.processes.filter,
                None => &state.contexts.filter,
            };
            let note = format!("Only names with: {}_", printable(filter));
            (note, "Enter keep  Esc show all".to_owned())
        }
        None => {
            let keys = if state.opened.is_some() { PROCESSES } else { CONTEXTS };
            (printable(&state.message), keys.to_owned())
        }
    }
}
