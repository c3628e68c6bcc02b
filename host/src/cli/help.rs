//! Texts that `--help` and the manual page show after the options.

/// Version text in the three parts of util-vserver's tools; old scripts read
/// the first number.
pub(super) const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " -- virtual servers on an unpatched Linux kernel\n",
    "This program is part of vserver ",
    env!("CARGO_PKG_VERSION"),
    "\n\nThis program is free software under the terms of the MIT licence or the\n",
    "Apache licence 2.0, at your option. There is no warranty.",
);

pub(super) const VSERVER: &str = "\
Examples:
  vserver build web                    a guest from this host's own packages
  vserver start web                    boot it, showing each rc script
  vserver exec web -- ps aux           run a command in it
  vserver enter web                    a login shell in it
  vserver stop web                     shut it down

'vserver web start' is understood as well.

Exit codes: 0 done, 1 failed, 2 wrong use, 3 not running, 4 no permission,
5 no such guest. 'exec' and 'suexec' exit as the command did, and with 125
when vserver itself failed.";

pub(super) const BUILD: &str = "\
Examples:
  vserver build web
  vserver build web --context 40017 --hostname web.example.org
  vserver build web --method debootstrap --suite trixie
  vserver build web --method template --from rootfs.tar.zst";

pub(super) const START: &str = "\
Examples:
  vserver start web
  vserver start --all
  vserver start web --rescue /bin/sh   one command instead of the boot

A guest that runs already is left alone, with a warning and exit code 0.";

pub(super) const STOP: &str = "\
Examples:
  vserver stop web
  vserver stop web --timeout 10        kill what remains after 10 seconds
  vserver stop web --no-kill           fail rather than kill

A guest that is stopped already is left alone, with a warning and exit code 0.";

pub(super) const ENTER: &str = "\
A stopped guest is not booted: its context is opened, and closed with the last
session.";

pub(super) const EXEC: &str = "\
Examples:
  vserver exec web -- ps aux
  tar c files | vserver exec web -- tar x -C /srv

Exit code: the command's, 128+n after signal n, 125 when vserver itself failed,
126 when the command can't be executed, 127 when there is none.
A stopped guest is not booted: its context is opened for the command.";

pub(super) const SUEXEC: &str = "\
Examples:
  vserver suexec www-data web -- id
  vserver web suexec www-data id       the same

USER is a name of the guest's or a number. Exit codes are those of 'exec'.";

pub(super) const CONSOLE: &str = "\
Ctrl-] leaves the console.";

pub(super) const STATUS: &str = "\
Exit code: 0 running, 3 stopped, 5 no such guest.
With --json: an object for one guest, an array with --all, --mark or several.";

pub(super) const CONFIG: &str = "\
Examples:
  vserver config show web --effective
  vserver config set web boot.stop_timeout 90s
  vserver config set web marks db backup
  vserver config check";

pub(super) const COMPLETION: &str = "\
Examples:
  vserver completion bash > /usr/share/bash-completion/completions/vserver
  vserver completion zsh > /usr/local/share/zsh/site-functions/_vserver
  vserver completion fish > /etc/fish/completions/vserver.fish";
