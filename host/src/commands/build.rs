//! `vserver build`.

use std::fs;
use std::io::Read;
use std::path::Path;

use crate::build::{self, Access, Interrupt, Progress, Request, Settings, Site};
use crate::cli::{BuildArgs, Method};
use crate::commands::{Exit, at_rest, output};
use crate::config::{self, Boot, GuestConfig};
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::ids;
use crate::paths::Paths;
use crate::session::{self, Session};

/// Makes the guest's root and its configuration.
pub(super) fn run(args: &BuildArgs, paths: &Paths) -> Result<Exit> {
    if args.run_script.is_some() {
        // Begins anew, so nothing may come before.
        session::protect()?;
    }
    let request = request(args)?;
    if args.dry_run {
        build::refuse(&request.site, paths)?;
        output::print(&format!(
            "guest '{}' would be built by method '{}' in '{}'\n",
            args.name,
            method_name(args.method),
            request.site.target(paths).display()
        ))?;
        return Ok(Exit::DONE);
    }
    let script = args.run_script.as_deref().map(read).transpose()?;
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let report = build::build(&request, paths, &interrupt, Progress::on_terminal(), |settings| {
        register(args, settings, paths)?;
        let ran = script.as_ref().map_or(Ok(()), |script| first_run(args, script, paths));
        ran.inspect_err(|_| unregister(args, paths))
    })?;
    for remark in &report.remarks {
        output::remark(remark);
    }
    output::print(&format!(
        "guest '{name}' is built in '{root}' from {summary}\nnext: vserver start {name}\n",
        name = args.name,
        root = report.root.display(),
        summary = report.summary,
    ))?;
    Ok(Exit::DONE)
}

fn request(args: &BuildArgs) -> Result<Request> {
    let include = args.include.clone();
    let method = match args.method {
        Method::Copy => build::Method::Copy { include },
        Method::Debootstrap => build::Method::Debootstrap {
            suite: args.suite.clone(),
            mirror: args.mirror.clone(),
            include,
            options: args.options.clone(),
        },
        Method::Template => build::Method::Template { from: args.from.clone() },
        Method::Oci => match args.from.as_slice() {
            [from] => build::Method::Oci { from: from.clone() },
            _ => return Err(Error::usage("method 'oci' needs one '--from PATH'")),
        },
        Method::Skeleton => build::Method::Skeleton,
    };
    let (name, hostname, root) = (args.name.clone(), args.hostname.clone(), args.root.clone());
    Ok(Request {
        site: Site { name, hostname, root, force: args.force },
        method,
        access: access(args)?,
    })
}

/// Reads what lets root in, before anything is built.
fn access(args: &BuildArgs) -> Result<Access> {
    let mut access = Access::default();
    for file in &args.ssh_key {
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        let keys = build::keys(&text);
        access.ssh_keys.extend(keys.map_err(|error| error.context(shown(file)))?);
    }
    if let Some(file) = &args.root_password_file {
        let text = String::from_utf8_lossy(&read(file)?).into_owned();
        let hash = build::hash(text.lines().next().unwrap_or_default());
        access.password = Some(hash.map_err(|error| error.context(shown(file)))?);
    }
    Ok(access)
}

fn shown(file: &Path) -> String {
    format!("'{}'", file.display())
}

/// The bytes of a file of the host's, or of standard input for `-`.
fn read(file: &Path) -> Result<Vec<u8>> {
    if file != Path::new("-") {
        return fs::read(file).map_err(|cause| Error::path("read", file, cause));
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|cause| Error::os("cannot read standard input", cause))?;
    Ok(bytes)
}

/// Where the administrator's script is while it runs.
const SCRIPT: &str = "/vserver-run-script";

/// Runs the administrator's script in the guest, which isn't booted: with all
/// that confines `vserver exec`.
fn first_run(args: &BuildArgs, script: &[u8], paths: &Paths) -> Result<()> {
    let name = &args.name;
    let root = RootDir::open(&args.root.clone().unwrap_or_else(|| paths.root(name)))?;
    root.write(SCRIPT, script, 0o700)?;
    let session = Session { command: Some(vec![SCRIPT.into()]), user: None };
    let outcome = session::run(paths, name, &session, &output::warn);
    root.remove(SCRIPT)?;
    // What it has started ends with it.
    at_rest::check(paths, name)?;
    match outcome? {
        outcome if outcome.success() => Ok(()),
        outcome => Err(Error::new(format!("the script of '--run-script' has failed: {outcome}"))),
    }
}

fn unregister(args: &BuildArgs, paths: &Paths) {
    // The first error counts.
    let _ = fs::remove_file(paths.config(&args.name));
    let _ = ids::release(paths, &args.name);
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Copy => "copy",
        Method::Debootstrap => "debootstrap",
        Method::Template => "template",
        Method::Oci => "oci",
        Method::Skeleton => "skeleton",
    }
}

/// Gives the guest its numbers and writes its configuration.
fn register(args: &BuildArgs, settings: &Settings, paths: &Paths) -> Result<()> {
    let allocation = ids::allocate(paths, &args.name, args.context)?;
    let boot = Boot { environment: settings.environment.clone(), ..Boot::default() };
    let config = GuestConfig {
        boot,
        context: Some(allocation.context),
        hostname: args.hostname.clone(),
        root: args.root.clone(),
        ..GuestConfig::default()
    };
    config::write_new(paths, &args.name, &config).inspect_err(|_| {
        // The first error counts.
        let _ = ids::release(paths, &args.name);
    })
}
