//! Of the verbs that have little more to say than examples.

pub(in crate::cli) const RESTART: &str = "\
Examples:
  vserver restart web
  vserver restart --mark db --timeout 10

One that is stopped is started. 'vserver reboot' has a running guest boot anew
in its place, as 'reboot' inside would.";

pub(in crate::cli) const CONDRESTART: &str = "\
Examples:
  vserver condrestart web
  vserver condrestart --all";

pub(in crate::cli) const REBOOT: &str = "\
Examples:
  vserver reboot web
  vserver reboot web --no-wait

Its configuration is read anew. A guest that doesn't run is an error.";

pub(in crate::cli) const RESUME: &str = "\
Examples:
  vserver resume web
  vserver resume --mark batch";

pub(in crate::cli) const ENTER: &str = "\
Examples:
  vserver enter web
  vserver enter web -u www-data

A stopped guest is not booted: its context is opened, and closed with the last
session.

Exit code: the shell's, 128+n after signal n. When vserver itself failed, 1, 3
not running, 4 no permission, 5 no such guest, 126 the shell can't be executed,
127 there is none.";

pub(in crate::cli) const CONSOLE: &str = "\
Example:
  vserver console web

Ctrl-] leaves the console.";

pub(in crate::cli) const STATUS: &str = "\
Examples:
  vserver status web
  vserver status --all --json

Exit code: 0 running, 3 stopped, 4 no permission, 5 no such guest; of several,
the largest.
With --json: an object for one guest, an array with --all, --enabled, --mark or
several.";

pub(in crate::cli) const RUNNING: &str = "\
Example:
  vserver running web || vserver start web

Exit code: 0 running, 1 not; 4 no permission, 5 no such guest, which is said.";

pub(in crate::cli) const LIST: &str = "\
Examples:
  vserver list
  vserver list --enabled --stopped     those that should run
  vserver list --running --names       for scripts
  vserver list --mark db --json";

pub(in crate::cli) const DELETE: &str = "\
Examples:
  vserver delete web --dry-run         what would be deleted
  vserver delete web
  vserver delete web shop --yes        for scripts: without a question

Who answers with anything but 'yes' or 'y' is asked no more, and the exit code
is 2.";

pub(in crate::cli) const WAIT: &str = "\
Examples:
  vserver wait web                     until it is down
  vserver wait web db --for running --timeout 2m";

pub(in crate::cli) const DISABLE: &str = "\
Examples:
  vserver disable web          it runs on, and isn't started with the host
  vserver disable web --now    and stops it

Takes back 'vserver enable' and 'systemctl enable vserver@web'.";

pub(in crate::cli) const DOCTOR: &str = "\
Examples:
  vserver doctor
  vserver doctor --json

Exit code: 0 nothing is missing, 1 something is.";

pub(in crate::cli) const DEMO: &str = "\
Examples:
  vserver demo
  vserver demo --keep          the guest stays, and how to go on is said";

pub(in crate::cli) const CONFIG_SHOW: &str = "\
Examples:
  vserver config show web
  vserver config show web --effective
  vserver config show web --effective --json";

pub(in crate::cli) const CONFIG_CHECK: &str = "\
Examples:
  vserver config check
  vserver config check web";

pub(in crate::cli) const CONFIG_SET: &str = "\
Examples:
  vserver config set web boot.stop_timeout 90s
  vserver config set web marks db backup
  vserver config set web network.mode=shared network.addresses=192.0.2.10
  vserver config set web description 'customer 17' --dry-run";

pub(in crate::cli) const CONFIG_UNSET: &str = "\
Examples:
  vserver config unset web boot.stop_timeout
  vserver config unset web marks description";

pub(in crate::cli) const CONFIG_EDIT: &str = "\
Example:
  EDITOR=nano vserver config edit web";

pub(in crate::cli) const SNAPSHOT_CREATE: &str = "\
Examples:
  vserver snapshot create web
  vserver snapshot create web before-upgrade
  vserver snapshot create web before-upgrade --dry-run";

pub(in crate::cli) const SNAPSHOT_LIST: &str = "\
Examples:
  vserver snapshot list web
  vserver snapshot list web --json";

pub(in crate::cli) const SNAPSHOT_RESTORE: &str = "\
Examples:
  vserver stop web && vserver snapshot restore web before-upgrade
  vserver snapshot restore web before-upgrade --dry-run
  vserver snapshot restore web before-upgrade --yes

An answer other than 'yes' or 'y' is exit code 2.";

pub(in crate::cli) const SNAPSHOT_DELETE: &str = "\
Examples:
  vserver snapshot delete web before-upgrade
  vserver snapshot delete web before-upgrade --dry-run
  vserver snapshot delete web before-upgrade --yes

An answer other than 'yes' or 'y' is exit code 2.";

pub(in crate::cli) const DEVICE_ADD: &str = "\
Examples:
  vserver device add web /dev/fuse
  vserver device add web /dev/ttyUSB0 r --runtime";

pub(in crate::cli) const DEVICE_REMOVE: &str = "\
Examples:
  vserver device remove web /dev/fuse
  vserver device remove web /dev/ttyUSB0 --runtime";

pub(in crate::cli) const DEVICE_LIST: &str = "\
Examples:
  vserver device list web
  vserver device list web --json";
