//! `vserver quota`: limits on the disk for a guest's users.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use shared::name::GuestName;

use crate::cli::QuotaArgs;
use crate::commands::{Exit, output, turn};
use crate::config::{self, Files, GuestConfig, UserMode};
use crate::copying::View;
use crate::error::{Error, Result};
use crate::fsroot::RootDir;
use crate::paths::Paths;
use crate::plan::ID_COUNT;
use crate::report::quota::{self as report, Row};
use crate::session;
use crate::storage::{UserQuota, UserQuotas};
use crate::tree::{self, Ground};

/// Shows quotas, or changes one.
pub(super) fn run(args: &QuotaArgs, paths: &Paths) -> Result<Exit> {
    let name = &args.name;
    let config = config::load(paths, name)?;
    if Files::of(&config.storage) != Files::Image {
        return Err(shared(name));
    }
    // As long as this is there, nobody starts a guest that is stopped.
    let view = View::guest(paths, name, &|name| turn::wait(paths, name), &|| Ok(()))?;
    let quotas = UserQuotas::open(&view.root, &config.root(paths, name));
    let quotas = quotas.map_err(|error| error.context(format_args!("guest '{name}'")))?;
    let users = users(&view.root);
    let rows = match &args.user {
        None => {
            let mut names = BTreeMap::new();
            for (user, number) in &users {
                names.entry(*number).or_insert(user.as_str());
            }
            let named = |(number, quota)| row(number, names.get(&number).copied(), &quota);
            quotas.all()?.into_iter().map(named).collect()
        }
        Some(user) => {
            let number = number(user, &users, name, &config)?;
            let mut quota = quotas.of(number)?;
            if args.changes() {
                quotas.check(number)?;
                change(&mut quota, args)?;
                if args.dry_run {
                    output::print(&format!("would limit user '{user}' of guest '{name}'\n"))?;
                } else {
                    quotas.limit(number, &quota)?;
                }
                return Ok(Exit::DONE);
            }
            let known = users.iter().find(|(_, other)| *other == number);
            vec![row(number, known.map(|(name, _)| name.as_str()), &quota)]
        }
    };
    output::print(&match args.json {
        true => report::json(name.as_str(), &rows),
        false => report::text(&rows),
    })?;
    Ok(Exit::DONE)
}

fn shared(name: &GuestName) -> Error {
    Error::new(format!(
        "users of guest '{name}' can't be limited: its files share a file system with others', \
         which has one account for all users of one number, whatever guest they are of"
    ))
    .hint("lay the guest in an image: vserver clone NAME NEW --storage image --size SIZE")
}

/// The guest's users. Whatever its root has put there, this reads a file of the
/// image, and no other.
fn users(root: &RootDir) -> Vec<(String, u32)> {
    /// A file longer than this is read in part; no real one is.
    const LONGEST: u64 = 16 << 20;
    let ground = Ground { mounts: false, moving: true };
    let mut text = Vec::new();
    if let Ok(file) = tree::pin(root.as_fd(), Path::new("etc/passwd"), ground)
        && let Ok(file) = file.open()
    {
        let _ = File::from(file).take(LONGEST).read_to_end(&mut text);
    }
    session::users(&String::from_utf8_lossy(&text))
}

/// The number of a user. What its names mean is the guest's to say; not what
/// numbers do, and root.
fn number(
    user: &str,
    users: &[(String, u32)],
    guest: &GuestName,
    config: &GuestConfig,
) -> Result<u32> {
    let by_name = || users.iter().find(|(name, _)| name == user).map(|(_, number)| *number);
    let fixed = user.parse().ok().or((user == "root").then_some(0));
    let found = fixed.or_else(by_name);
    let number = found.ok_or_else(|| {
        Error::new(format!("guest '{guest}' has no user '{}'", user.escape_debug()))
            .hint("users that its /etc/passwd doesn't name are given by number")
    })?;
    // The kernel keeps the last number for nobody at all.
    let ids = match config.security.users {
        UserMode::Host => u32::MAX,
        UserMode::Private | UserMode::Identity => ID_COUNT,
    };
    if number < ids {
        return Ok(number);
    }
    let last = ids - 1;
    Err(Error::usage(format!("guest '{guest}' has no user {number}: its ids end at {last}")))
}

/// # Errors
/// When a soft limit would be above the other.
fn change(quota: &mut UserQuota, args: &QuotaArgs) -> Result<()> {
    let set = |to: &mut u64, wanted: Option<u64>| *to = wanted.unwrap_or(*to);
    set(&mut quota.hard, args.size);
    set(&mut quota.soft, args.soft);
    set(&mut quota.hard_files, args.files);
    set(&mut quota.soft_files, args.soft_files);
    for (what, soft, hard) in
        [("--soft", quota.soft, quota.hard), ("--soft-files", quota.soft_files, quota.hard_files)]
    {
        if hard > 0 && soft > hard {
            return Err(Error::usage(format!("'{what}' would be above the limit itself"))
                .hint(format!("'{what} max' takes it away")));
        }
    }
    Ok(())
}

fn row(uid: u32, name: Option<&str>, quota: &UserQuota) -> Row {
    let limit = |limit: u64| (limit > 0).then_some(limit);
    Row {
        user: name.map_or_else(|| uid.to_string(), str::to_owned),
        uid,
        used_bytes: quota.used,
        soft_bytes: limit(quota.soft),
        limit_bytes: limit(quota.hard),
        files: quota.files,
        soft_files: limit(quota.soft_files),
        limit_files: limit(quota.hard_files),
    }
}
