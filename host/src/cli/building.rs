//! The arguments of `vserver build`.
//!
//! Plain data: what was typed, in types that hold only what is allowed.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use shared::name::{ContextId, GuestName};

use super::values;

/// `vserver build`.
#[derive(Clone, Debug, Args)]
pub struct BuildArgs {
    /// Name of the new guest.
    #[arg(value_parser = values::guest)]
    pub name: GuestName,
    /// Where its files come from.
    #[arg(short, long, value_enum, default_value_t = Method::Copy)]
    pub method: Method,
    /// Its number, 2 to 49151; allocated when not given.
    #[arg(long, value_name = "N", value_parser = values::context)]
    pub context: Option<ContextId>,
    /// Its host name; its name when not given.
    #[arg(long)]
    pub hostname: Option<String>,
    /// Directory of its root; a new one below /var/lib/vservers when not
    /// given.
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// debootstrap: the distribution's release, such as 'trixie'.
    #[arg(short, long)]
    pub suite: Option<String>,
    /// debootstrap: where packages come from; the host's own sources when not
    /// given.
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// copy, debootstrap: further packages.
    #[arg(long, value_name = "PACKAGE", value_delimiter = ',')]
    pub include: Vec<String>,
    /// template: the archive, tar or cpio, plain or compressed with gzip,
    /// bzip2, xz, zstd or lz4; '-' reads it from standard input. May be given
    /// several times: each is laid over those before it. oci: a layout
    /// directory or an archive of one, as PATH or PATH:TAG.
    #[arg(
        long,
        value_name = "FILE",
        required_if_eq_any([("method", "template"), ("method", "oci")])
    )]
    pub from: Vec<PathBuf>,
    /// Set an existing root and configuration aside, as NAME.~TIME~.
    #[arg(long)]
    pub force: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// debootstrap: handed to the tool as they are.
    #[arg(value_name = "OPTION", last = true)]
    pub options: Vec<OsString>,
}

/// Where a new guest's files come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// This host's own packages, without its data.
    Copy,
    /// mmdebstrap or debootstrap.
    Debootstrap,
    /// Archives, tar or cpio.
    Template,
    /// An image of the Open Container Initiative: a layout or an archive.
    Oci,
    /// Empty directories and vserver's own few files.
    Skeleton,
}
