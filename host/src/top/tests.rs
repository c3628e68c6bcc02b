//! Keys and readings in, actions and screens out; no terminal.

use std::time::Duration;

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::accounting::{Account, Processes};

const INTERVAL: Duration = Duration::from_secs(2);

fn guest(name: &str) -> Context {
    Context::Guest(name.parse().unwrap())
}

fn entry(context: Context, number: u32, millis: u64) -> Entry {
    let name = match &context {
        Context::Main => "root server".to_owned(),
        other => other.to_string(),
    };
    let processes =
        Processes { number: 3, first: Some((Duration::ZERO, 1)), ..Processes::default() };
    let account = Account { user: Duration::from_millis(millis), processes, ..Account::default() };
    let description = String::new();
    Entry { context, line: Line { context: Some(number), name, description, account } }
}

fn process(pid: i32, command: &str) -> Process {
    Process {
        id: ProcessId { pid, started: Duration::from_secs(5) },
        inner: pid - 100,
        state: 'S',
        virtual_bytes: 1 << 20,
        resident_bytes: 1 << 19,
        time: Duration::from_secs(1),
        name: command.split(' ').next().unwrap_or_default().to_owned(),
        command: command.to_owned(),
    }
}

fn reading(at: u64, web: u64) -> Reading {
    Reading {
        at: Duration::from_secs(at),
        contexts: vec![
            entry(Context::Main, 0, 5000),
            entry(guest("db"), 40_001, 9000),
            entry(guest("web"), 40_002, web),
        ],
        processes: Vec::new(),
    }
}

fn opened(at: u64, processes: Vec<Process>) -> Reading {
    Reading { processes, ..reading(at, 1000) }
}

fn press(state: &mut State, key: KeyCode) -> Action {
    state.press(KeyEvent::new(key, KeyModifiers::NONE))
}

fn letters(state: &mut State, text: &str) -> Action {
    let keys = text.chars().map(|letter| press(state, KeyCode::Char(letter)));
    keys.last().unwrap_or(Action::Nothing)
}

/// In the processes of `web`, of which the first is chosen.
fn inside(processes: Vec<Process>) -> State {
    let mut state = State::new(INTERVAL, reading(0, 1000));
    letters(&mut state, "n");
    press(&mut state, KeyCode::End);
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Look);
    assert_eq!(state.opened(), Some(&guest("web")));
    state.take(opened(2, processes));
    state
}

fn screen(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

#[test]
fn the_screen_shows_contexts_by_what_they_use_of_a_processor() {
    let mut state = State::new(INTERVAL, reading(0, 1000));
    state.take(reading(2, 2000));
    let wanted = [
        "vserver top  contexts: 3, processes: 9, CPU: 50.0 %, by %CPU, every 2 s",
        "CTX   PROC    VSZ    RSS  userTIME   sysTIME    UPTIME   %CPU NAME",
        "40002    3      0      0   0m02s00   0m00s00   0m00s00   50.0 web",
        "0        3      0      0   0m05s00   0m00s00   0m00s00    0.0 root server",
        "40001    3      0      0   0m09s00   0m00s00   0m00s00    0.0 db",
        "",
        "",
        "Sort: c cpu m mem n name p procs t time x ctx  Enter open s stop / filter q quit",
    ];
    assert_eq!(screen(&state, 80, 8), wanted);
}

#[test]
fn a_guest_is_opened_and_left() {
    let mut state = inside(vec![process(101, "init"), process(107, "sleep 5")]);
    let shown = screen(&state, 80, 8);
    assert!(shown[0].starts_with("vserver top  guest 'web', processes: 2"), "{shown:?}");
    assert!(shown[2].contains(" 101 ") && shown[2].ends_with(" init"), "{shown:?}");
    assert!(shown[3].ends_with(" sleep 5"), "{shown:?}");
    assert_eq!(press(&mut state, KeyCode::Esc), Action::Nothing);
    assert_eq!(state.opened(), None);
    letters(&mut state, "x");
    press(&mut state, KeyCode::Home);
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Nothing);
    assert!(state.message.contains("top(1)"), "the host isn't opened");
}

#[test]
fn a_share_is_shown_from_the_second_reading_on() {
    let mut state = inside(vec![process(101, "init")]);
    assert!(screen(&state, 80, 8)[2].contains("      - "));
    let later = Process { time: Duration::from_millis(1500), ..process(101, "init") };
    state.take(opened(4, vec![later.clone()]));
    assert!(screen(&state, 80, 8)[2].contains("   25.0 "));
    // The same pid again, but another process.
    let id = ProcessId { started: Duration::from_secs(9), ..later.id };
    state.take(opened(6, vec![Process { id, ..later }]));
    assert!(screen(&state, 80, 8)[2].contains("      - "));
}

/// Each key has its order, and no two the same one.
#[test]
fn each_key_sorts_by_its_own_column() {
    let of = |at, rows: [(&str, u32, u64, u64, u64); 3]| Reading {
        at: Duration::from_secs(at),
        contexts: rows
            .map(|(name, number, millis, resident_bytes, processes)| {
                let mut entry = entry(guest(name), number, millis);
                let all = &mut entry.line.account.processes;
                (all.resident_bytes, all.number) = (resident_bytes, processes);
                entry
            })
            .into(),
        processes: Vec::new(),
    };
    let before = [("b", 3, 7000, 2, 1), ("m", 2, 6900, 3, 3), ("w", 1, 8500, 1, 2)];
    let now = [("b", 3, 8000, 2, 1), ("m", 2, 7000, 3, 3), ("w", 1, 9000, 1, 2)];
    let mut state = State::new(INTERVAL, of(0, before));
    state.take(of(2, now));
    let mut sorted = |key: &str| -> String {
        letters(&mut state, key);
        state.contexts().iter().map(|(entry, _)| entry.line.name.as_str()).collect()
    };
    let orders =
        [("n", "bmw"), ("c", "bwm"), ("m", "mbw"), ("p", "mwb"), ("t", "wbm"), ("x", "wmb")];
    for (key, order) in orders {
        assert_eq!(sorted(key), order, "{key}");
    }

    let of = |shares: [u64; 3]| {
        // Pid, pid inside, memory, time by then.
        let rows = [("b", 13, 3, 2, 8), ("m", 11, 2, 3, 7), ("w", 12, 1, 1, 9)];
        rows.into_iter().zip(shares).map(|((command, pid, inner, memory, time), share)| Process {
            inner,
            resident_bytes: memory,
            time: Duration::from_millis(time * 1000 - share),
            ..process(pid, command)
        })
    };
    let mut state = inside(of([1000, 100, 500]).collect());
    state.take(opened(4, of([0; 3]).collect()));
    let mut sorted = |key: &str| -> String {
        letters(&mut state, key);
        state.processes().iter().map(|(process, _)| process.command.as_str()).collect()
    };
    for (key, order) in orders {
        assert_eq!(sorted(key), order, "{key}");
    }
}

#[test]
fn a_signal_needs_its_own_answer() {
    let mut state = inside(vec![process(101, "init"), process(107, "sleep 5")]);
    press(&mut state, KeyCode::Down);
    let id = process(107, "").id;
    assert_eq!(letters(&mut state, "k"), Action::Hold(guest("web"), id));
    let shown = screen(&state, 80, 8);
    assert_eq!(shown[6], "Signal to 'sleep', pid 107 (7 inside), of guest 'web'?");
    assert!(shown[7].starts_with("t SIGTERM  K SIGKILL"), "{shown:?}");
    for key in [KeyCode::Char('k'), KeyCode::Enter, KeyCode::Char('y'), KeyCode::Down] {
        assert_eq!(press(&mut state, key), Action::Nothing);
        assert!(state.holds());
    }
    // Other processes come and go meanwhile: the question stays.
    state.take(opened(4, vec![process(99, "new"), process(107, "sleep 5")]));
    assert!(state.holds());
    assert_eq!(letters(&mut state, "t"), Action::Send(Signal::Term));
    assert!(!state.holds());
    letters(&mut state, "k");
    assert_eq!(letters(&mut state, "K"), Action::Send(Signal::Kill));
    letters(&mut state, "k");
    assert_eq!(press(&mut state, KeyCode::Esc), Action::LetGo);
    assert!(!state.holds() && state.opened().is_some());
}

#[test]
fn pid_1_is_named_as_what_it_is() {
    let mut state = inside(vec![process(101, "init")]);
    letters(&mut state, "k");
    assert!(screen(&state, 80, 8)[6].contains("(1 inside, which ends all others)"));
}

#[test]
fn signals_are_for_processes_and_stops_for_guests() {
    let mut state = State::new(INTERVAL, reading(0, 1000));
    assert_eq!(letters(&mut state, "k"), Action::Nothing);
    assert!(!state.holds());
    letters(&mut state, "x");
    press(&mut state, KeyCode::Home);
    letters(&mut state, "s");
    assert_eq!(letters(&mut state, "y"), Action::Nothing, "the host isn't stopped");
    press(&mut state, KeyCode::Down);
    letters(&mut state, "s");
    assert_eq!(screen(&state, 80, 8)[6], "Stop guest 'db'?");
    assert_eq!(letters(&mut state, "n"), Action::Nothing);
    letters(&mut state, "s");
    assert_eq!(press(&mut state, KeyCode::Enter), Action::Nothing);
    assert_eq!(letters(&mut state, "y"), Action::Stop("db".parse().unwrap()));
    letters(&mut state, "s");
    assert_eq!(letters(&mut state, "y"), Action::Nothing, "it is being stopped");
    state.stopped(&"db".parse().unwrap(), "guest 'db' is stopped");
    assert_eq!(screen(&state, 80, 8)[6], "guest 'db' is stopped");
}

#[test]
fn a_guest_that_goes_takes_its_screen_and_its_question_along() {
    let mut state = inside(vec![process(107, "sleep 5")]);
    letters(&mut state, "k");
    let mut without = reading(4, 0);
    without.contexts.pop();
    state.take(without);
    assert!(state.opened().is_none() && !state.holds());
    assert_eq!(state.message, "guest 'web' has no processes any more");
}

#[test]
fn a_filter_is_typed_kept_and_dropped() {
    let mut state = State::new(INTERVAL, reading(0, 1000));
    letters(&mut state, "/Wq");
    assert_eq!(screen(&state, 80, 8)[6], "Only names with: Wq_");
    press(&mut state, KeyCode::Backspace);
    press(&mut state, KeyCode::Enter);
    let shown = screen(&state, 80, 8);
    assert!(shown[0].contains("contexts: 1") && shown[0].contains(", with 'W'"), "{shown:?}");
    assert!(shown[2].ends_with(" web") && shown[3].is_empty(), "{shown:?}");
    press(&mut state, KeyCode::Esc);
    assert!(screen(&state, 80, 8)[3].ends_with(" db"));
}

#[test]
fn control_keys_are_no_letters() {
    let mut state = State::new(INTERVAL, reading(0, 1000));
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    assert_eq!(state.press(control('z')), Action::Suspend);
    assert_eq!(state.press(control('l')), Action::Repaint);
    assert_eq!(state.press(control('s')), Action::Nothing);
    letters(&mut state, "s");
    assert_eq!(state.press(control('y')), Action::Nothing);
    assert_eq!(state.press(control('c')), Action::Quit);
    press(&mut state, KeyCode::Esc);
    assert_eq!(letters(&mut state, "q"), Action::Quit);
}

#[test]
fn an_early_reading_is_not_compared_with_the_one_before() {
    let mut state = State::new(INTERVAL, reading(0, 1000));
    state.take(reading(10, 2000));
    let early = Reading { at: Duration::from_millis(10_010), ..reading(0, 2000) };
    state.take(early);
    assert!(screen(&state, 80, 8)[2].contains("   10.0 web"), "{:?}", screen(&state, 80, 8));
}

fn any_key() -> impl Strategy<Value = KeyCode> {
    prop_oneof![
        proptest::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::PageDown,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::Backspace,
        ]),
        proptest::sample::select("cmnptx/ksqtKyn".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
        any::<char>().prop_map(KeyCode::Char),
    ]
}

proptest! {
    /// Whatever is typed: signals and stops only come out of an answer to
    /// their question, and the signal's process is the one that was shown.
    #[test]
    fn nothing_is_done_unasked(keys in proptest::collection::vec(any_key(), 0..60)) {
        let mut state = inside(vec![process(101, "init"), process(107, "sleep 5")]);
        for key in keys {
            let question = state.question.clone();
            match press(&mut state, key) {
                Action::Send(_) => prop_assert!(
                    matches!(question, Some(state::Question::Signal(..)))
                ),
                Action::Stop(name) => {
                    prop_assert_eq!(question, Some(state::Question::Stop(name)));
                }
                Action::Hold(context, id) => {
                    prop_assert_eq!(Some(&context), state.opened());
                    prop_assert_eq!(state.chosen_process().map(|process| process.id), Some(id));
                }
                _ => {}
            }
        }
    }

    /// Names and command lines are shown as what they are on a screen of any
    /// size: none acts on the terminal.
    #[test]
    fn foreign_text_is_harmless(
        command in any::<String>(), width in 0..200_u16, height in 0..30_u16, ask in any::<bool>(),
    ) {
        let mut state = inside(vec![process(107, &format!("{command}\x1b]0;x\x07"))]);
        if ask {
            letters(&mut state, "k");
        }
        for row in screen(&state, width, height) {
            prop_assert!(!row.chars().any(char::is_control), "{row:?}");
            let turned = row.contains(char::from_u32(0x202e).unwrap());
            prop_assert!(!turned);
        }
    }
}
