//! The tools that util-vserver had as programs of their own. This program
//! acts as one of them when it is called by that name, and each is a verb of
//! `vserver`, too: `vserver reducecap …` is `reducecap …`.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::LazyLock;

use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};

use nix::sys::signal::Signal;

use super::{StatArgs, help};
use crate::chbind::Given;
use crate::membership::Word;

/// Which tool, and what it is asked for.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Run a command in a context: a new one, or one that there is.
    #[command(
        display_name = "chcontext",
        version = help::tool_version!("run a command in a context"),
        after_help = help::CHCONTEXT
    )]
    Chcontext(ChcontextArgs),
    /// Run a command with addresses of its own.
    #[command(
        display_name = "chbind",
        version = help::tool_version!("run a command with addresses of its own"),
        after_help = help::CHBIND
    )]
    Chbind(ChbindArgs),
    /// Run a command with fewer capabilities, for good.
    #[command(
        display_name = "reducecap",
        version = help::tool_version!("run a command with fewer capabilities"),
        after_help = help::REDUCECAP
    )]
    Reducecap(ReducecapArgs),
    /// List processes with their contexts, as ps does.
    #[command(
        display_name = "vps",
        visible_alias = "ps",
        version = help::tool_version!("list processes with their contexts"),
        after_help = help::VPS,
        disable_help_flag = true,
        disable_version_flag = true
    )]
    Vps(VpsArgs),
    /// Show processes of all contexts as a tree.
    #[command(
        display_name = "vpstree",
        visible_alias = "pstree",
        version = help::tool_version!("show processes of all contexts as a tree"),
        after_help = help::VPSTREE,
        disable_help_flag = true,
        disable_version_flag = true
    )]
    Vpstree(VpstreeArgs),
    /// Watch processes of all contexts.
    #[command(
        display_name = "vtop",
        version = help::tool_version!("watch processes of all contexts"),
        after_help = help::VTOP,
        disable_help_flag = true,
        disable_version_flag = true
    )]
    Vtop(VtopArgs),
    /// Send signals to processes in contexts.
    #[command(
        display_name = "vkill",
        visible_alias = "kill",
        version = help::tool_version!("send signals to processes in contexts"),
        after_help = help::VKILL
    )]
    Vkill(VkillArgs),
    /// Show what contexts use, in the form that scripts know.
    #[command(
        name = "vserver-stat",
        display_name = "vserver-stat",
        version = help::tool_version!("show what contexts use"),
        after_help = help::VSERVER_STAT
    )]
    Stat(StatArgs),
    /// Tell scripts one thing about a guest, a process or this program.
    #[command(
        name = "vserver-info",
        display_name = "vserver-info",
        visible_alias = "info",
        version = help::tool_version!("tell scripts one thing about a guest or a process"),
        after_help = help::INFO
    )]
    Info(InfoArgs),
}

impl Tool {
    /// Its name as a program.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Chbind(_) => "chbind",
            Self::Chcontext(_) => "chcontext",
            Self::Reducecap(_) => "reducecap",
            Self::Vps(_) => "vps",
            Self::Vpstree(_) => "vpstree",
            Self::Vtop(_) => "vtop",
            Self::Vkill(_) => "vkill",
            Self::Stat(_) => "vserver-stat",
            Self::Info(_) => "vserver-info",
        }
    }
}

/// What a tool's own failure exits with, as util-vserver's did: 1 of those
/// that answer by their exit code, 255 of those that pass a command's on.
pub fn failure(tool: &str) -> u8 {
    match tool {
        "vkill" | "vserver-info" | "vserver-stat" => 1,
        _ => 255,
    }
}

/// The tools as programs.
#[derive(Debug, Parser)]
#[command(multicall = true, max_term_width = 100)]
struct Programs {
    #[command(subcommand)]
    tool: Tool,
}

/// A tool as a command line of its own, for documentation and completion.
pub fn programs() -> Vec<clap::Command> {
    Programs::command().get_subcommands().cloned().collect()
}

/// Every name of a tool, its other names as a verb included, with its own.
static NAMES: LazyLock<Vec<(String, &'static str)>> = LazyLock::new(|| {
    let mut names = Vec::new();
    for program in programs() {
        // One short string a tool, once in the life of the process.
        let own: &'static str = program.get_name().to_owned().leak();
        let all = program.get_name_and_visible_aliases();
        names.extend(all.into_iter().map(|name| (name.to_owned(), own)));
    }
    names
});

/// Which tool a line is for, by its own name.
pub fn called(argv: &[OsString]) -> Option<&'static str> {
    place(argv).map(|(_, tool)| tool)
}

/// The words of a tool's line, its own name first, if it is one.
pub(super) fn words(argv: &[OsString]) -> Option<Vec<OsString>> {
    let (at, tool) = place(argv)?;
    let rest = argv.get(at + 1..).unwrap_or_default();
    Some([OsString::from(tool)].into_iter().chain(rest.iter().cloned()).collect())
}

/// Where a tool's name stands: the name of the program, or the first word
/// behind it.
fn place(argv: &[OsString]) -> Option<(usize, &'static str)> {
    let named = |word: &OsStr| NAMES.iter().find(|(name, _)| word == name.as_str());
    let program = Path::new(argv.first()?).file_name()?;
    // Only names of programs, not those of verbs: `ps` is somebody else's.
    if let Some((_, tool)) = named(program).filter(|(name, tool)| name == tool) {
        return Some((0, tool));
    }
    named(argv.get(1)?).map(|(_, tool)| (1, *tool))
}

/// Reads a tool's words.
///
/// # Errors
/// What clap says, which includes `--help` and `--version`.
pub(super) fn parse(words: Vec<OsString>) -> Result<Tool, clap::Error> {
    Programs::try_parse_from(words).map(|programs| programs.tool)
}

/// `chcontext`.
#[derive(Clone, Debug, Args)]
pub struct ChcontextArgs {
    /// Which context: a number, a guest's name, 'self' or ':NAME'. A new one
    /// with a number that is given out if none is named.
    #[arg(long = "ctx", visible_alias = "xid", value_name = "XID")]
    pub context: Option<Word>,
    /// Keep a capability that '--secure' takes; with '!' in front take one.
    /// May be given several times, and is a list with commas.
    #[arg(long, value_name = "[!]NAME", value_parser = changes, action = ArgAction::Append)]
    pub cap: Vec<String>,
    /// Keep only util-vserver's secure set of capabilities; in a new context
    /// what sets the kernel below /proc is read-only, too.
    #[arg(long)]
    pub secure: bool,
    /// A flag of Linux-VServer's for a new context. May be given several
    /// times, and is a list with commas; '!' in front takes one back.
    #[arg(long, value_name = "[!]FLAG", action = ArgAction::Append)]
    pub flag: Vec<String>,
    /// Set the context's host name.
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// Set the context's NIS domain.
    #[arg(long, value_name = "NAME")]
    pub domainname: Option<String>,
    /// Leave the terminal, and don't wait for the command.
    #[arg(long)]
    pub disconnect: bool,
    /// Don't print the number of a new context.
    // The name of the verbs' own --quiet, whose other spelling this is: clap
    // leaves that one out here.
    #[arg(long = "silent")]
    pub quiet: bool,
    /// The command and its arguments.
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// `chbind`.
#[derive(Clone, Debug, Args)]
pub struct ChbindArgs {
    /// An address that the command may use, or all of an interface. May be
    /// given several times; the first is the usual source.
    #[arg(long = "ip", value_name = "ADDRESS[/BITS]|DEVICE", action = ArgAction::Append)]
    pub addresses: Vec<Given>,
    /// A broadcast address that the command may bind to, beside those of the
    /// addresses' networks.
    #[arg(long = "bcast", value_name = "ADDRESS")]
    pub broadcast: Option<Ipv4Addr>,
    /// What 127.0.0.1 means to the command, instead of 127.x.y.1.
    #[arg(long = "lback", value_name = "ADDRESS", value_parser = loopback)]
    pub loopback: Option<Ipv4Addr>,
    /// The number that 127.x.y.1 is made of: the context's, or one that is
    /// given out.
    #[arg(long = "nid", value_name = "N", value_parser = clap::value_parser!(u32).range(2..=65_535))]
    pub number: Option<u32>,
    /// Take the capability that changes interfaces, addresses and routes.
    #[arg(long)]
    pub secure: bool,
    /// Don't print the addresses.
    // As with chcontext.
    #[arg(long = "silent")]
    pub quiet: bool,
    /// The command and its arguments.
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// `reducecap`.
#[derive(Clone, Debug, Args)]
pub struct ReducecapArgs {
    /// Keep only util-vserver's secure set.
    #[arg(long)]
    pub secure: bool,
    /// Keep a capability that '--secure' takes; with '!' in front take one.
    /// May be given several times, and is a list with commas.
    #[arg(long, value_name = "[!]NAME", value_parser = changes, action = ArgAction::Append)]
    pub cap: Vec<String>,
    /// Print the capability sets, as the command will have them.
    #[arg(long)]
    pub show: bool,
    /// With --show: those of another process.
    #[arg(long, value_name = "P")]
    pub pid: Option<u32>,
    /// The command and its arguments.
    #[arg(value_name = "CMD", trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// `vps`. Everything but two words is ps's own.
#[derive(Clone, Debug, Args)]
pub struct VpsArgs {
    /// What ps(1) shall show, and how.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<OsString>,
    /// Its help.
    #[command(flatten)]
    pub about: About,
}

/// `vpstree`.
#[derive(Clone, Debug, Args)]
pub struct VpstreeArgs {
    /// Only the tree of this context: a number, a name, 'self' or ':NAME'.
    #[arg(long = "ctx", visible_alias = "xid", value_name = "XID")]
    pub context: Option<Word>,
    /// What pstree(1) shall show, and how.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<OsString>,
    /// Its help.
    #[command(flatten)]
    pub about: About,
}

/// `vtop`.
#[derive(Clone, Debug, Args)]
pub struct VtopArgs {
    /// What top(1) shall show, and how.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<OsString>,
    /// Its help.
    #[command(flatten)]
    pub about: About,
}

/// `--help` and `--version` without their letters, which the program behind
/// the tool has for something else.
#[derive(Clone, Debug, Args)]
pub struct About {
    /// Print help.
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Print version.
    #[arg(long, action = ArgAction::Version)]
    version: Option<bool>,
}

/// `vkill`.
#[derive(Clone, Debug, Args)]
pub struct VkillArgs {
    /// Processes of this context: a number, a name, 'self' or ':NAME'.
    #[arg(short = 'c', long = "xid", visible_alias = "ctx", value_name = "XID")]
    pub context: Option<Word>,
    /// Which signal: a number, or a name with or without SIG.
    #[arg(short, long, value_name = "SIG", default_value = "TERM", value_parser = signal)]
    pub signal: i32,
    /// With --xid pids as they are inside, else those of the host; all of the
    /// context when none is given.
    #[arg(value_name = "PID", allow_negative_numbers = true, value_parser = super::values::pid)]
    pub pids: Vec<i32>,
}

/// `vserver-info`.
#[derive(Clone, Debug, Args)]
pub struct InfoArgs {
    /// Say nothing: the exit code answers.
    #[arg(short, long)]
    pub quiet: bool,
    /// List the tags.
    #[arg(short, long, exclusive = true)]
    pub list: bool,
    /// A guest's name, a context or a pid, as the tag wants it; '-' where it
    /// wants none.
    #[arg(value_name = "NAME|XID|PID|-", required_unless_present = "list")]
    pub subject: Option<String>,
    /// What to tell.
    #[arg(value_name = "TAG", required_unless_present = "list")]
    pub tag: Option<String>,
    /// What some tags want to know.
    #[arg(value_name = "ARG")]
    pub argument: Option<String>,
}

/// A signal by number or name. Real-time signals have numbers only.
fn signal(text: &str) -> Result<i32, String> {
    if let Ok(number) = text.parse::<i32>()
        && (0..=64).contains(&number)
    {
        return Ok(number);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    let known: Option<Signal> = format!("SIG{bare}").parse().ok();
    known.map(|known| known as i32).ok_or_else(|| format!("there is no signal '{text}'"))
}

fn loopback(text: &str) -> Result<Ipv4Addr, String> {
    let ip: Ipv4Addr = text.parse().map_err(|_| format!("'{text}' is no IPv4 address"))?;
    if ip.is_loopback() { Ok(ip) } else { Err(format!("{ip} is not in 127.0.0.0/8")) }
}

fn changes(list: &str) -> Result<String, String> {
    shared::reducecap::sets::Changes::default().add(list).map(|()| list.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Action, Cli};

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        crate::cli::parse(line.split(' ').map(OsString::from).collect(), &[])
    }

    #[test]
    fn tools_are_called_by_name_or_as_verbs() {
        for line in ["reducecap --secure ls -l", "/usr/bin/reducecap --secure -- ls -l"] {
            for line in [line.to_owned(), format!("vserver {line}").replace("/usr/bin/", "")] {
                let Ok(Action::Tool(Tool::Reducecap(args))) = parsed(&line).map(|cli| cli.action)
                else {
                    panic!("{line}")
                };
                assert!(args.secure);
                assert_eq!(args.command, ["ls", "-l"]);
            }
        }
        assert_eq!(called(&["web".into(), "start".into()]), None);
        assert_eq!(called(&[]), None);
    }

    #[test]
    fn options_of_the_programs_behind_pass() {
        for words in ["-ef", "aux --sort -pid", "-o pid,comm -q 1", "-V", "h"] {
            for line in [format!("vps {words}"), format!("vserver vps {words}")] {
                let Ok(Action::Tool(Tool::Vps(args))) = parsed(&line).map(|cli| cli.action) else {
                    panic!("{line}")
                };
                assert_eq!(args.options.join(OsStr::new(" ")), words);
            }
        }
        let Ok(Action::Tool(Tool::Vpstree(args))) =
            parsed("vserver pstree --ctx web -p -h").map(|cli| cli.action)
        else {
            panic!()
        };
        assert_eq!(args.context, Some(Word::Name("web".parse().unwrap())));
        assert_eq!(args.options, ["-p", "-h"]);
    }

    #[test]
    fn signals_have_numbers_and_names() {
        for (text, number) in
            [("9", 9), ("kill", 9), ("SIGTERM", 15), ("Hup", 1), ("0", 0), ("64", 64)]
        {
            assert_eq!(signal(text), Ok(number), "{text}");
        }
        for wrong in ["65", "-1", "", "SIG", "frob", "SIGSIGTERM"] {
            assert!(signal(wrong).is_err(), "{wrong:?} was taken");
        }
        let Ok(Action::Tool(Tool::Vkill(args))) =
            parsed("vkill -c 42 -s HUP -- -1").map(|cli| cli.action)
        else {
            panic!()
        };
        assert_eq!((args.signal, args.pids), (1, vec![-1]));
    }

    #[test]
    fn every_tool_has_its_version_and_examples() {
        for mut program in programs() {
            let name = program.get_name().to_owned();
            let version = program.render_version();
            let number = env!("CARGO_PKG_VERSION");
            assert!(version.starts_with(&format!("{name} {number} -- ")), "{version}");
            let help = program.render_long_help().to_string();
            assert!(help.contains("Examples:") && help.contains(&format!("  {name} ")), "{help}");
        }
    }
}
