//! Command line: from words to one typed [`Action`].
//!
//! Everything about options, help texts and word order stands here. Parsing
//! has no effect on the system and reads nothing but its arguments.

pub mod accounts;
pub mod args;
pub mod building;
mod candidates;
pub mod device;
mod help;
pub mod limits;
mod old_build;
mod old_method;
mod order;
pub mod quota;
mod site_options;
pub mod store;
pub mod tools;
pub mod transfer;
pub mod unify;
pub mod units;
mod values;

use std::ffi::OsString;
use std::path::Path;

use crate::systemd;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};
use shared::name::GuestName;

pub use accounts::{MetricsArgs, StatArgs, TopArgs, UsageArgs};
pub use args::*;
pub use building::{BuildArgs, Method};
pub use candidates::{CandidatesArgs, Kind, kind, wanted};
pub use device::{DeviceAction, DeviceArgs};
pub use limits::{Change, LimitsArgs};
pub use old_build::{OldBuildArgs, Said};
pub use order::reorder;
pub use quota::QuotaArgs;
pub use site_options::mistake as mistake_in_option;
pub use store::StoreArgs;
pub use tools::Tool;
pub use transfer::*;
pub use unify::{Base, UnifyArgs};
pub use units::*;

/// A guest's name that wasn't typed, under the rules of those that are.
///
/// # Errors
/// Why it can't be one.
pub fn guest_name(text: &str) -> Result<GuestName, String> {
    values::guest(text)
}

/// Virtual servers for Linux on an unpatched kernel.
#[derive(Debug, Parser)]
#[command(
    name = "vserver",
    bin_name = "vserver",
    version = help::VERSION,
    after_help = help::VSERVER,
    max_term_width = 100,
    arg_required_else_help = true,
    subcommand_value_name = "VERB",
    subcommand_help_heading = "Verbs"
)]
pub struct Cli {
    /// Say more about what is done.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Say nothing but errors.
    #[arg(short, long, global = true, visible_alias = "silent", conflicts_with = "verbose")]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do, by the verb that the user types.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a new guest: its root directory and its configuration.
    #[command(after_help = help::BUILD, args_override_self = true)]
    Build(Box<BuildArgs>),
    /// Boot guests.
    #[command(after_help = help::START)]
    Start(StartArgs),
    /// Shut guests down, as their own init would.
    #[command(after_help = help::STOP)]
    Stop(StopArgs),
    /// Stop guests if they run, and start them.
    #[command(after_help = help::RESTART)]
    Restart(RestartArgs),
    /// Restart those of the guests that run.
    #[command(after_help = help::CONDRESTART)]
    Condrestart(RestartArgs),
    /// Have running guests reboot, as if asked from inside.
    #[command(after_help = help::REBOOT)]
    Reboot(RebootArgs),
    /// Freeze all processes of guests where they are.
    #[command(after_help = help::PAUSE)]
    Pause(PauseArgs),
    /// Let paused guests go on.
    #[command(after_help = help::RESUME)]
    Resume(PauseArgs),
    /// Open a login shell in a guest.
    #[command(after_help = help::ENTER)]
    Enter(EnterArgs),
    /// Run a command in a guest as its root.
    #[command(after_help = help::EXEC)]
    Exec(ExecArgs),
    /// Run a command in a guest as one of its users.
    #[command(after_help = help::SUEXEC)]
    Suexec(SuexecArgs),
    /// Connect to a guest's console.
    #[command(after_help = help::CONSOLE)]
    Console(ConsoleArgs),
    /// Show how guests are.
    #[command(after_help = help::STATUS)]
    Status(StatusArgs),
    /// Is the guest running? Silent: the exit code answers, 0 or 1; 5 if there is none.
    #[command(after_help = help::RUNNING)]
    Running(RunningArgs),
    /// List all guests.
    #[command(after_help = help::LIST)]
    List(ListArgs),
    /// Show what guests use: processes, memory, time, and more.
    #[command(after_help = help::STAT)]
    Stat(StatArgs),
    /// Watch guests and their processes on the whole screen.
    #[command(after_help = help::TOP)]
    Top(TopArgs),
    /// Show what guests have used in a period, for bills.
    #[command(after_help = help::USAGE)]
    Usage(UsageArgs),
    /// Show a guest's limits and what it uses of them, and change them.
    #[command(after_help = help::LIMITS)]
    Limits(LimitsArgs),
    /// Give guests devices of the host's, take them away, show them.
    #[command(after_help = help::DEVICE)]
    Device(DeviceArgs),
    /// Print what guests use and have used, for Prometheus.
    #[command(after_help = help::METRICS)]
    Metrics(MetricsArgs),
    /// Show what a guest wrote to its console.
    #[command(after_help = help::LOGS)]
    Logs(LogsArgs),
    /// Have guests started when the host boots.
    #[command(after_help = help::ENABLE)]
    Enable(EnableArgs),
    /// Have guests no longer started when the host boots.
    #[command(after_help = help::DISABLE)]
    Disable(DisableArgs),
    /// Give running guests what can be changed of their configuration at once.
    #[command(after_help = help::RELOAD)]
    Reload(ReloadArgs),
    /// Have the supervisors of running guests replaced by this program.
    #[command(after_help = help::REEXEC)]
    Reexec(ReexecArgs),
    /// Make a new guest that is a copy of another one.
    #[command(after_help = help::CLONE)]
    Clone(CloneArgs),
    /// Give a guest another name.
    #[command(after_help = help::RENAME)]
    Rename(RenameArgs),
    /// Write a stopped guest to one file, with all that belongs to it.
    #[command(after_help = help::EXPORT)]
    Export(ExportArgs),
    /// Make a guest of such a file.
    #[command(after_help = help::IMPORT)]
    Import(ImportArgs),
    /// Move a guest to another host.
    #[command(after_help = help::MOVE)]
    Move(Box<MoveArgs>),
    /// Copy files into guests and out of them.
    #[command(after_help = help::CP)]
    Cp(CpArgs),
    /// Keep copies of a guest's files, and go back to them.
    #[command(after_help = help::SNAPSHOT)]
    Snapshot(SnapshotArgs),
    /// Limit what each of a guest's users may take of its image.
    #[command(after_help = help::QUOTA)]
    Quota(QuotaArgs),
    /// Let equal files of guests share blocks of the disk.
    #[command(after_help = help::UNIFY, visible_alias = "hashify")]
    Unify(UnifyArgs),
    /// Delete guests: root directory, configuration, logs.
    #[command(after_help = help::DELETE)]
    Delete(DeleteArgs),
    /// Wait until guests are in a state.
    #[command(after_help = help::WAIT)]
    Wait(WaitArgs),
    /// Print a line of JSON whenever the state of a guest changes.
    #[command(after_help = help::EVENTS)]
    Events(EventsArgs),
    /// Show, check and change configuration files.
    #[command(after_help = help::CONFIG)]
    Config(ConfigArgs),
    /// Say what this host can and can't do, and how to change that.
    #[command(after_help = help::DOCTOR)]
    Doctor(DoctorArgs),
    /// Print a script that completes vserver's words in a shell.
    #[command(after_help = help::COMPLETION)]
    Completion(CompletionArgs),
    /// Install this program with its tools' names, manual pages and completion.
    #[command(after_help = help::INSTALL)]
    Install(InstallArgs),
    /// Build a guest, boot it, look into it, stop it.
    #[command(after_help = help::DEMO)]
    Demo(DemoArgs),
    /// Run one guest's supervisor; 'start' and systemd call this.
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Write dependencies of guests' units; systemd calls this.
    #[command(hide = true)]
    Generate(GenerateArgs),
    /// Print what can stand behind these words; scripts of completion call this.
    #[command(hide = true, name = "__complete")]
    Candidates(CandidatesArgs),
    /// Write the manual pages into a directory.
    #[command(hide = true)]
    Man(ManArgs),
    /// One of the tools that have names of their own.
    #[command(flatten)]
    Tool(Tool),
}

impl Action {
    /// Does the exit code belong to a command run in the guest, so that
    /// vserver's own failures need a number that commands rarely use?
    pub fn passes_exit_code(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Suexec(_))
    }

    /// Does it make files for whoever calls it, or runs a command of theirs on the host, so
    /// that their umask counts?
    pub fn keeps_umask(&self) -> bool {
        matches!(self, Self::Tool(_) | Self::Cp(_) | Self::Export(_) | Self::Man(_))
    }
}

/// Reads the program's arguments, argument 0 first, in either word order; as
/// one of the tools if it is called by a tool's name, or if a tool's name is
/// the first word. `build` has these options, too, unless it is given others, or its
/// method has no use for them.
///
/// # Errors
/// What clap says, which includes `--help` and `--version`.
pub fn parse(argv: Vec<OsString>, options_of_build: &[Vec<OsString>]) -> Result<Cli, clap::Error> {
    read(argv, options_of_build).map_err(without_false_tips)
}

/// No guest, and no value that is asked for, begins with a '-': where clap doesn't know
/// an option, its tip of how to pass that as a value leads nowhere.
fn without_false_tips(mut usage: clap::Error) -> clap::Error {
    if let Some(ContextValue::StyledStrs(mut tips)) = usage.remove(ContextKind::Suggested) {
        tips.retain(|tip| !tip.to_string().contains("as a value, use"));
        usage.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    if let Some(ContextValue::Strings(mut verbs)) = usage.remove(ContextKind::SuggestedSubcommand) {
        // Nobody types these.
        verbs.retain(|verb| !verb.starts_with('_'));
        if !verbs.is_empty() {
            usage.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(verbs));
        }
    }
    usage
}

fn read(argv: Vec<OsString>, options_of_build: &[Vec<OsString>]) -> Result<Cli, clap::Error> {
    if let Some(words) = tools::words(&argv) {
        let action = Action::Tool(tools::parse(words)?);
        return Ok(Cli { verbose: false, quiet: false, action });
    }
    if is_generator(&argv) {
        let verb = ["vserver".into(), "generate".into()];
        return Cli::try_parse_from(verb.into_iter().chain(argv.into_iter().skip(1)));
    }
    if let Some(args) = supervise(&argv) {
        return Ok(Cli { verbose: false, quiet: false, action: Action::Supervise(args) });
    }
    let mut words = reorder(argv);
    if let Some(at) = verb_build(&words) {
        words = site_options::add(&words, at, options_of_build);
    }
    Cli::try_parse_from(words)
}

/// `vserver supervise` alone: who stays as long as the guest would keep the pages
/// that a parser of all verbs takes. What isn't right is left to that one, to say so.
fn supervise(argv: &[OsString]) -> Option<SuperviseArgs> {
    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        args: SuperviseArgs,
    }
    let words =
        argv.get(1..).filter(|words| words.first().is_some_and(|verb| verb == "supervise"))?;
    Alone::try_parse_from(words).ok().map(|alone| alone.args)
}

/// Is this `vserver build`, in either word order?
pub fn builds(argv: &[OsString]) -> bool {
    tools::words(argv).is_none()
        && !is_generator(argv)
        && verb_build(&reorder(argv.to_vec())).is_some()
}

/// Where the verb stands, if it is `build`.
fn verb_build(words: &[OsString]) -> Option<usize> {
    let is_word = |word: &OsString| !word.as_encoded_bytes().starts_with(b"-");
    let at = words.iter().skip(1).position(is_word)? + 1;
    words.get(at).filter(|verb| *verb == "build").map(|_| at)
}

fn is_generator(argv: &[OsString]) -> bool {
    let name = argv.first().and_then(|path| Path::new(path).file_name());
    name.is_some_and(|name| name == systemd::GENERATOR)
}

/// The whole command line as clap sees it, for documentation and completion.
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supervise_is_read_alone_as_with_the_other_verbs() {
        let lines = [
            "web",
            "web --unit",
            "--take-over web",
            "web --foreground --rescue sh -c true",
            "web --no-such",
            "",
            "--help",
        ];
        for line in lines {
            let words = format!("vserver supervise {line}");
            let words: Vec<_> = words.split_ascii_whitespace().map(OsString::from).collect();
            let alone = parse(words.clone(), &[]).map_err(|error| error.to_string());
            let with_others =
                Cli::try_parse_from(words).map_err(|error| without_false_tips(error).to_string());
            assert_eq!(format!("{alone:?}"), format!("{with_others:?}"), "{line}");
        }
        assert!(supervise(&["vserver", "supervise", "web"].map(OsString::from)).is_some());
    }

    fn action(line: &str) -> Result<Action, clap::Error> {
        parse(line.split(' ').map(OsString::from).collect(), &[]).map(|cli| cli.action)
    }

    #[test]
    fn every_help_has_examples_in_lines_that_fit() {
        fn look(command: &clap::Command) {
            for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
                let name = inner.get_name();
                let notes = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(notes.starts_with("Example"), "{name} has no examples");
                let most = |line: &str| if line.starts_with("  ") { 88 } else { 80 };
                let long = notes.lines().find(|line| line.chars().count() > most(line));
                assert_eq!(long, None, "{name}");
                look(inner);
            }
        }
        look(&command());
    }

    #[test]
    fn tips_lead_somewhere() {
        for line in ["vserver start web --timeout -1", "vserver delete --force web"] {
            let told = action(line).unwrap_err().to_string();
            assert!(!told.contains("as a value, use"), "{told}");
        }
        let told = action("vserver complet").unwrap_err().to_string();
        assert!(told.contains("'completion'") && !told.contains("__"), "{told}");
        let told = action("vserver start web --timeout -1").unwrap_err().to_string();
        assert!(told.contains("a duration is written like"), "{told}");
    }

    #[test]
    fn definitions_are_consistent() {
        command().debug_assert();
    }

    #[test]
    fn both_word_orders_mean_the_same() {
        for line in ["vserver start web --no-wait", "vserver web start --no-wait"] {
            let Ok(Action::Start(start)) = action(line) else { panic!("{line}") };
            assert_eq!(start.guests.names, ["web".parse().unwrap()]);
            assert!(start.no_wait);
        }
    }

    #[test]
    fn everything_after_a_commands_name_is_its_own() {
        for line in [
            "vserver exec web ls -l --all -- x",
            "vserver exec web -- ls -l --all -- x",
            "vserver web exec ls -l --all -- x",
        ] {
            let Ok(Action::Exec(exec)) = action(line) else { panic!("{line}") };
            assert_eq!(exec.name.as_str(), "web");
            assert_eq!(exec.command, ["ls", "-l", "--all", "--", "x"]);
        }
        for line in ["vserver suexec www web -- id -u", "vserver web suexec www id -u"] {
            let Ok(Action::Suexec(suexec)) = action(line) else { panic!("{line}") };
            assert_eq!((suexec.user.as_str(), suexec.name.as_str()), ("www", "web"));
            assert_eq!(suexec.command, ["id", "-u"]);
        }
    }

    #[test]
    fn options_of_build_count_where_no_others_are_given() {
        let build = |line: &str| {
            let options = [&["--method", "skeleton"][..], &["--ssh-key=a.pub"]];
            let options = options.map(|words| words.iter().map(OsString::from).collect());
            let argv: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert!(builds(&argv), "{line}");
            let Ok(Action::Build(build)) = parse(argv, &options).map(|cli| cli.action) else {
                panic!("{line}")
            };
            (build.method, build.ssh_key.len(), build.name.to_string())
        };
        let web = "web".to_owned();
        assert_eq!(build("vserver -q build web"), (Method::Skeleton, 1, web.clone()));
        let own = (Method::Copy, 2, web);
        assert_eq!(build("vserver build web -m copy --ssh-key b.pub"), own);
        assert_eq!(build("vserver web build -m copy --ssh-key b.pub"), own);
        for line in ["vserver start build", "vserver", "vserver exec web build", "vps build"] {
            let argv: Vec<_> = line.split(' ').map(OsString::from).collect();
            assert!(!builds(&argv), "{line}");
        }
    }

    #[test]
    fn rescue_takes_the_rest_of_the_line() {
        let Ok(Action::Start(start)) = action("vserver start web --rescue sh -c true") else {
            panic!()
        };
        assert_eq!(start.rescue.unwrap(), ["sh", "-c", "true"]);
    }

    #[test]
    fn a_verb_is_no_guests_name() {
        for line in ["vserver start stop", "vserver build list", "vserver start top"] {
            let error = action(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains("is a verb"), "{error}");
        }
    }

    #[test]
    fn guests_are_named_or_chosen_but_not_both() {
        assert!(action("vserver start").is_err());
        assert!(action("vserver start --all").is_ok());
        assert!(action("vserver start --mark db --mark web").is_ok());
        assert!(action("vserver start web --all").is_err());
        assert!(action("vserver start a b c").is_ok());
    }

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        for (text, millis) in [("5", 5000), ("0.5", 500), ("2m", 120_000), ("1m 30s", 90_000)] {
            let argv = ["vserver", "stop", "web", "--timeout", text].map(OsString::from);
            let Action::Stop(stop) = parse(argv.to_vec(), &[]).unwrap().action else { panic!() };
            assert_eq!(stop.shutdown.timeout.unwrap().as_millis(), millis);
        }
        for text in ["-1", "x", "1e30", "NaN", "inf", ""] {
            let argv = ["vserver", "stop", "web", "--timeout", text].map(OsString::from);
            assert!(parse(argv.to_vec(), &[]).is_err(), "{text} was taken");
        }
    }
}
