//! `vserver build`.

use crate::build::{self, Interrupt, Progress, Request};
use crate::cli::{BuildArgs, Method};
use crate::commands::{Exit, output};
use crate::config::{self, GuestConfig};
use crate::error::{Error, Result};
use crate::ids;
use crate::paths::Paths;

/// Makes the guest's root and its configuration.
pub(super) fn run(args: &BuildArgs, paths: &Paths) -> Result<Exit> {
    let request = request(args)?;
    if args.dry_run {
        build::refuse(&request, paths)?;
        output::print(&format!(
            "guest '{}' would be built by method '{}' in '{}'\n",
            args.name,
            method_name(args.method),
            request.target(paths).display()
        ))?;
        return Ok(Exit::DONE);
    }
    let interrupt =
        Interrupt::watch().map_err(|cause| Error::os("cannot watch for signals", cause))?;
    let report = build::build(&request, paths, &interrupt, Progress::on_terminal(), || {
        register(args, paths)
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
        Method::Template => {
            let from = args.from.clone();
            let from = from.ok_or_else(|| Error::usage("method 'template' needs '--from FILE'"))?;
            build::Method::Template { from }
        }
        Method::Skeleton => build::Method::Skeleton,
    };
    let (name, hostname, root) = (args.name.clone(), args.hostname.clone(), args.root.clone());
    Ok(Request { name, method, hostname, root, force: args.force })
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Copy => "copy",
        Method::Debootstrap => "debootstrap",
        Method::Template => "template",
        Method::Skeleton => "skeleton",
    }
}

/// Gives the guest its numbers and writes its configuration.
fn register(args: &BuildArgs, paths: &Paths) -> Result<()> {
    let allocation = ids::allocate(paths, &args.name, args.context)?;
    let config = GuestConfig {
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
