//! `vserver-info`: one value for scripts.

use std::fs::{self, File};
use std::os::fd::AsFd;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use shared::capability::capability;
use shared::name::{ContextId, GuestName};

use crate::cli::tools::InfoArgs;
use crate::commands::{Exit, observe, output};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::membership::{Context, MAX, Membership, Word};
use crate::paths::Paths;
use crate::report::info::{self, FEATURES, TAGS};
use crate::supervisor;

/// One value and a newline; exit code 1 and nothing if there is none.
pub(super) fn run(args: &InfoArgs, paths: &Paths) -> Result<Exit> {
    if args.list {
        output::print(&info::tags())?;
        return Ok(Exit::DONE);
    }
    let (subject, tag) = (args.subject.as_deref(), args.tag.as_deref());
    let (subject, tag) = (subject.unwrap_or_default(), tag.unwrap_or_default());
    let tag = tag.to_ascii_uppercase();
    if !TAGS.iter().any(|(name, _)| *name == tag) {
        let text = format!("there is no tag '{}'", tag.escape_default());
        let error = Error::usage(text);
        return Err(error.hint("'vserver-info -l' lists them"));
    }
    let question = Question { paths, subject, argument: args.argument.as_deref() };
    match question.answer(&tag)? {
        Some(value) => {
            if !args.quiet && !value.is_empty() {
                output::print(&format!("{}\n", value.trim_end_matches('\n')))?;
            }
            Ok(Exit::DONE)
        }
        None => Ok(Exit::NO),
    }
}

/// What is asked about.
struct Question<'a> {
    paths: &'a Paths,
    subject: &'a str,
    argument: Option<&'a str>,
}

impl Question<'_> {
    /// The value; empty where only the exit code answers.
    ///
    /// # Errors
    /// When it can't be known: no answer would be a "no".
    fn answer(&self, tag: &str) -> Result<Option<String>> {
        match tag {
            "CONTEXT" => Ok(self.context()?.map(|number| number.to_string())),
            "RUNNING" => Ok(self.is_running()?.then(|| "1".to_owned())),
            tag => Ok(self.known(tag)),
        }
    }

    fn known(&self, tag: &str) -> Option<String> {
        match tag {
            "ID" | "NAME" => self.named().map(|context| context.to_string()),
            "VDIR" => {
                let guest = self.guest()?;
                let config = config::load(self.paths, &guest).ok()?;
                Some(config.root(self.paths, &guest).display().to_string())
            }
            "CFGDIR" => {
                let file = self.paths.config(&self.guest()?);
                file.exists().then(|| file.display().to_string())
            }
            // There are no applications with settings of their own.
            "APPDIR" => None,
            "INITPID" => self.init(&self.named()?).map(|pid| pid.to_string()),
            "INITPID_PID" => self.init(&self.of_process()?).map(|pid| pid.to_string()),
            // One number for all three.
            "XID" | "NID" | "TAG" => {
                let number = self.membership()?.number(&self.of_process()?)?;
                Some(number.to_string())
            }
            // Whatever can be seen from here was made from here.
            "PXID" => self.named().map(|_| "0".to_owned()),
            "APIVER" => Some(info::API.to_owned()),
            "UTS" => self.uts(),
            "SYSINFO" => Some(self.system()),
            "FEATURE" => FEATURES.contains(&self.argument?).then(String::new),
            "CANONIFY" => Some(info::canonical(self.subject)).filter(|name| !name.is_empty()),
            "VERIFYCAP" => may_make_contexts().then(String::new),
            "VERIFYPROC" => fs::metadata("/proc/1/status").is_ok().then(String::new),
            "XIDTYPE" => self.kind().map(str::to_owned),
            _ => None,
        }
    }

    fn membership(&self) -> Option<Membership> {
        Membership::read(self.paths).ok()
    }

    /// The context that the subject names.
    fn named(&self) -> Option<Context> {
        self.membership()?.find(&self.subject.parse().ok()?).ok()
    }

    fn guest(&self) -> Option<GuestName> {
        match self.named()? {
            Context::Guest(name) => Some(name),
            _ => None,
        }
    }

    fn is_running(&self) -> Result<bool> {
        let Some(Context::Guest(name)) = self.named() else { return Ok(self.named().is_some()) };
        match observe::guest(self.paths, &name) {
            Ok(guest) => Ok(guest.state.is_running()),
            // Its supervisor can't be asked: the kernel may tell.
            Err(error) if error.kind() == Kind::Permission => {
                supervisor::runs(self.paths, &name).then_some(true).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The number of a context that runs; with an argument other than 0 the
    /// one that it would have.
    fn context(&self) -> Result<Option<u32>> {
        let also_stopped = self.argument.is_some_and(|argument| argument != "0");
        let Some(context) = self.named() else { return Ok(None) };
        if let Context::Guest(name) = &context
            && let Ok(guest) = observe::guest(self.paths, name)
            && guest.state.is_running()
        {
            // Its file may name another one by now.
            return Ok(guest.context.map(ContextId::get));
        }
        if also_stopped || self.is_running()? {
            return Ok(self.membership().and_then(|all| all.number(&context)));
        }
        Ok(None)
    }

    /// The context of the process that the subject is; its own for `-` and
    /// `self`.
    fn of_process(&self) -> Option<Context> {
        let pid = match self.subject {
            "-" | "self" => std::process::id().try_into().ok()?,
            pid => pid.parse().ok().filter(|pid| *pid > 0)?,
        };
        self.membership()?.of(pid)
    }

    fn init(&self, context: &Context) -> Option<i32> {
        match context {
            Context::Main => Some(1),
            other => self.membership()?.init(other).map(|process| process.pid),
        }
    }

    fn kind(&self) -> Option<&'static str> {
        let number = match self.subject.parse().ok()? {
            Word::Number(number) => number,
            other => {
                let membership = self.membership()?;
                membership.number(&membership.find(&other).ok()?)?
            }
        };
        match number {
            0 => Some("main"),
            1 => Some("watch"),
            ContextId::MIN..=ContextId::MAX_STATIC => Some("static"),
            _ if number <= MAX => Some("dynamic"),
            _ => None,
        }
    }

    /// The names that a context's uname(2) gives; one of them with an
    /// argument. This process joins its UTS namespace, for its few last steps.
    fn uts(&self) -> Option<String> {
        let context = self.named()?;
        if context != Context::Main {
            let namespace = File::open(format!("/proc/{}/ns/uts", self.init(&context)?)).ok()?;
            let kind = Some(LinkNameSpaceType::HostNameAndNISDomainName);
            move_into_link_name_space(namespace.as_fd(), kind).ok()?;
        }
        let names = rustix::system::uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        info::uts(
            &[
                ("context", context.to_string()),
                ("sysname", text(names.sysname())),
                ("nodename", text(names.nodename())),
                ("release", text(names.release())),
                ("version", text(names.version())),
                ("machine", text(names.machine())),
                ("domainname", text(names.domainname())),
            ],
            self.argument,
        )
    }

    fn system(&self) -> String {
        let names = rustix::system::uname();
        let prefix = std::env::current_exe().unwrap_or_default();
        let prefix = prefix.parent().and_then(|bin| bin.parent());
        info::system(&[
            ("Kernel", names.release().to_string_lossy().into_owned()),
            ("prefix", prefix.map(|path| path.display().to_string()).unwrap_or_default()),
            ("cfg", self.paths.config_dir().display().to_string()),
            ("run", self.paths.run_dir().display().to_string()),
            ("roots", self.paths.roots_dir().display().to_string()),
        ])
    }
}

/// Has this process what it takes to make contexts and guests?
fn may_make_contexts() -> bool {
    let has = |name| {
        let known = capability(name);
        known.is_some_and(|known| {
            caps::has_cap(None, caps::CapSet::Effective, known).unwrap_or(false)
        })
    };
    has("sys_admin") && has("setpcap")
}
