//! The `reducecap` program: installed with the file capability
//! `cap_setpcap=ep`, for ordinary users. All of it is in
//! [`shared::reducecap`].

#![forbid(unsafe_code)]

use std::env;
use std::process::ExitCode;

use shared::reducecap;

fn main() -> ExitCode {
    ExitCode::from(reducecap::main(env::args_os().skip(1)))
}
