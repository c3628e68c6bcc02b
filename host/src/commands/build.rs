//! `vserver build`.

use crate::build::{self, Interrupt, Progress, Request, Settings, Site};
use crate::cli::{BuildArgs, Method};
use crate::commands::{Exit, output};
use crate::config::{self, Boot, GuestConfig};
use crate::error::{Error, Result};
use crate::ids;
use crate::paths::Paths;

/// Makes the guest's root and its configuration.
pub(super) fn run(args: &BuildArgs, paths: &Paths) -> Result<Exit> {
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
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let report = build::build(&request, paths, &interrupt, Progress::on_terminal(), |settings| {
        register(args, settings, paths)
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
    Ok(Request { site: Site { name, hostname, root, force: args.force }, method })
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
