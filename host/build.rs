//! Builds guest-init and the reducecap program, so that the `vserver` program
//! carries them: what is installed is one file, and no two of them can be of
//! different versions.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let workspace = manifest.join("..");
    for input in
        ["guest-init/src", "guest-init/Cargo.toml", "shared/src", "shared/Cargo.toml", "Cargo.toml"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    // OUT_DIR is TARGET/TRIPLE/PROFILE/build/PACKAGE/out. One directory for
    // all profiles: guest-init is always built with its own.
    let out = PathBuf::from(variable("OUT_DIR"));
    let target = out.ancestors().nth(5).unwrap_or(&out).join("guest-init");
    let triple = variable("TARGET");
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .current_dir(&workspace)
        .args(["build", "--package", "guest-init", "--package", "shared", "--bins"])
        .args(["--profile", "init", "--target-dir"])
        .arg(&target);
    // What cargo or clippy set for this script is not meant for that build.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"]
    {
        cargo.env_remove(name);
    }
    let status = cargo.status();
    assert!(status.is_ok_and(|status| status.success()), "cannot build guest-init and reducecap");

    let programs = target.join(triple).join("init");
    let bytes = carry(&programs, &out, "guest-init", "GUEST_INIT_FILE");
    carry(&programs, &out, "reducecap", "REDUCECAP_FILE");
    // FNV-1a (RFC 9923), 64 bits: tells builds apart, no more.
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    println!("cargo::rustc-env=GUEST_INIT_HASH={hash:016x}");
}

/// Copies a program to where only this build changes it, and tells the crate
/// its path.
fn carry(programs: &Path, out: &Path, name: &str, told_as: &str) -> Vec<u8> {
    let program = programs.join(name);
    let bytes = fs::read(&program).unwrap_or_else(|error| {
        panic!("cannot read '{}': {error}", program.display());
    });
    let copy = out.join(name);
    fs::write(&copy, &bytes).unwrap_or_else(|error| {
        panic!("cannot write '{}': {error}", copy.display());
    });
    println!("cargo::rustc-env={told_as}={}", copy.display());
    bytes
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo has not set {name}"))
}
