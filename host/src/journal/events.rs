//! The events that have ids of their own, in one table: from it come the
//! messages' ids and priorities and the catalog that explains them.
//!
//! An id never changes and is never used for anything else, since scripts and
//! alarms ask for it (systemd.journal-fields(7), `MESSAGE_ID=`).

use std::fmt::Write;

/// Where journald reads catalogs of local software, below the prefix.
pub const CATALOG: &str = "lib/systemd/catalog/vserver.catalog";

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The usual course of things.
    Info,
    /// Worth a look.
    Warn,
    /// Something has gone wrong.
    Error,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A boot of the guest begins.
    Starting,
    /// The guest's PID 1 runs.
    Launched,
    /// The guest has reached its runlevel.
    Up,
    /// A context without a boot is open.
    Session,
    /// A start has failed.
    StartFailed,
    /// The guest has been told to shut down.
    StopAsked,
    /// The guest shuts down.
    Stopping,
    /// Somebody inside wants the guest down.
    AskedInside,
    /// The guest has not shut down in time, and is not killed.
    StopTimedOut,
    /// What was left of the guest is killed.
    Killed,
    /// What was killed of the guest has not ended.
    Unkillable,
    /// The guest is down.
    Stopped,
    /// The guest is down and started again.
    Rebooting,
    /// PID 1 has ended without having been asked to.
    Crashed,
    /// The guest waits to be started again.
    BackingOff,
    /// Processes of the guest were killed for want of memory.
    OutOfMemory,
    /// A new supervisor has taken the guest over.
    Adopted,
    /// The keeper was killed or lost.
    KeeperLost,
    /// A boot or shutdown script has failed.
    ScriptFailed,
    /// guest-init has noted something.
    Noted,
    /// The guest is paused or goes on.
    Frozen,
}

/// What is fixed about a kind of event.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Which.
    pub kind: Kind,
    /// 128 bits in hexadecimal digits.
    pub id: &'static str,
    /// How much it matters.
    pub level: Level,
    /// The catalog's heading. `@FIELD@` is the message's own.
    subject: &'static str,
    /// The catalog's text; `{n}` is the guest's name.
    text: &'static str,
}

/// All of them.
pub const ALL: &[Entry] = &[
    Entry {
        kind: Kind::Starting,
        id: "ab1b691b0bdc40b3adfb60817013d232",
        level: Level::Info,
        subject: "Guest @VSERVER_NAME@ is being started",
        text: "Boot number @VSERVER_BOOT@ since the guest was started begins. What it prints is\n\
               shown by: vserver logs {n} -b",
    },
    Entry {
        kind: Kind::Launched,
        id: "b336a5d844d14d2791d688c5d769eb0c",
        level: Level::Info,
        subject: "PID 1 of guest @VSERVER_NAME@ runs",
        text: "Its boot scripts run now, or its own init. On the host PID 1 has the pid\n\
               @VSERVER_INIT_PID@; its parent is the guest's keeper, @VSERVER_KEEPER_PID@.",
    },
    Entry {
        kind: Kind::Up,
        id: "436c4c285dae404cb4976bd58c7c2169",
        level: Level::Info,
        subject: "Guest @VSERVER_NAME@ is up",
        text: "It has reached its default runlevel, or has handed over to its own init.",
    },
    Entry {
        kind: Kind::Session,
        id: "cb17c07df8ba4904b85bff0eea1c3d4a",
        level: Level::Info,
        subject: "The context of guest @VSERVER_NAME@ is open",
        text: "The guest is not booted: a session uses its context, which is closed with the\n\
               last one.",
    },
    Entry {
        kind: Kind::StartFailed,
        id: "30fc09ad199c4160ad0d0fc2832f22e1",
        level: Level::Error,
        subject: "Guest @VSERVER_NAME@ could not be started",
        text: "What had been made for it has been undone. The message names the step and the\n\
               remedy, where there is one. 'vserver doctor' says what this host can do.",
    },
    Entry {
        kind: Kind::StopAsked,
        id: "cebb9e9b0ce84aaf9c5344206343f417",
        level: Level::Info,
        subject: "Guest @VSERVER_NAME@ is told to shut down",
        text: "What is left of it at its deadline (boot.stop_timeout) is killed.",
    },
    Entry {
        kind: Kind::Stopping,
        id: "586c0657ce394ac19040d0ca10d484e0",
        level: Level::Info,
        subject: "Guest @VSERVER_NAME@ shuts down",
        text: "Somebody on the host or inside has asked for it.",
    },
    Entry {
        kind: Kind::AskedInside,
        id: "6c67b9712c75443591257e09e3faea15",
        level: Level::Info,
        subject: "A shutdown of guest @VSERVER_NAME@ was asked for from inside",
        text: "By shutdown, halt, poweroff, reboot, init or telinit in the guest.",
    },
    Entry {
        kind: Kind::StopTimedOut,
        id: "318fcc83f9f745daae4acac9b40e36bf",
        level: Level::Warn,
        subject: "Guest @VSERVER_NAME@ has not shut down in time",
        text: "The stop was not to kill. The guest goes on shutting down; 'vserver stop' without\n\
               --no-kill ends it at its deadline.",
    },
    Entry {
        kind: Kind::Killed,
        id: "944359e8b5f0419b80929d4508b3fc4f",
        level: Level::Warn,
        subject: "The rest of guest @VSERVER_NAME@ is killed",
        text: "It had not ended at the deadline of its shutdown. Its deadline is\n\
               boot.stop_timeout; its console may say what took so long: vserver logs {n}",
    },
    Entry {
        kind: Kind::Unkillable,
        id: "a20b1be9d03645ee9a9c9a09ab50298f",
        level: Level::Error,
        subject: "Guest @VSERVER_NAME@ can't be killed",
        text: "The message names processes that are left. One in state D waits in the kernel, for\n\
               a disk or for another machine, one in state t or Z for what traces it. The\n\
               guest is down when they have ended; until then it is killed again and again.",
    },
    Entry {
        kind: Kind::Stopped,
        id: "0e0cbd7166714434b36371ea5d73e86a",
        level: Level::Info,
        subject: "Guest @VSERVER_NAME@ is down",
        text: "Nothing of it is left on the host but its files.",
    },
    Entry {
        kind: Kind::Rebooting,
        id: "1c99d15b85464ad7810913a3681dc121",
        level: Level::Info,
        subject: "Guest @VSERVER_NAME@ reboots",
        text: "It has ended, and is started again by the same supervisor.",
    },
    Entry {
        kind: Kind::Crashed,
        id: "1bc48f5961cb4b93abae1d707ed26440",
        level: Level::Error,
        subject: "Guest @VSERVER_NAME@ has crashed",
        text: "Its PID 1 has ended by itself: @VSERVER_OUTCOME@. Whether it is started again is up\n\
               to boot.restart. Its console may say more: vserver logs {n}",
    },
    Entry {
        kind: Kind::BackingOff,
        id: "5cffbac24aaa4edc9fa72e8e8e4f7d3b",
        level: Level::Warn,
        subject: "Guest @VSERVER_NAME@ is started again later",
        text: "After a crash, and after many reboots in a row, the pause before the next start\n\
               doubles, up to five minutes. 'vserver start' starts it at once.",
    },
    Entry {
        kind: Kind::OutOfMemory,
        id: "f3219d70a0a148079ba936417f000ab7",
        level: Level::Warn,
        subject: "Guest @VSERVER_NAME@ is out of memory",
        text: "The kernel has killed processes of the guest, and of no other one, since they\n\
               needed more than limits.memory. See: vserver limits {n}",
    },
    Entry {
        kind: Kind::Adopted,
        id: "0d195a02f8f041c5b62c83d3914155a0",
        level: Level::Info,
        subject: "Another supervisor has guest @VSERVER_NAME@",
        text: "The one before was killed or replaced. The guest has run on and goes on.",
    },
    Entry {
        kind: Kind::KeeperLost,
        id: "65ba30f3a76146c99fb64fa4fc9690d8",
        level: Level::Error,
        subject: "The keeper of guest @VSERVER_NAME@ was killed",
        text: "It was the parent of the guest's PID 1: how that ends can't be known any more, unless\n\
               guest-init tells. The guest goes on, and has another keeper. A boot that ends\n\
               unseen counts as a crash.",
    },
    Entry {
        kind: Kind::ScriptFailed,
        id: "388d5c555e064f09b1dfbf7da135df19",
        level: Level::Warn,
        subject: "A script of guest @VSERVER_NAME@ has failed",
        text: "@VSERVER_SCRIPT@ ended with: @VSERVER_OUTCOME@. It is the guest's own; its output is\n\
               on the console: vserver logs {n}",
    },
    Entry {
        kind: Kind::Noted,
        id: "f118370778ec4852b739775f3681b057",
        level: Level::Warn,
        subject: "Guest @VSERVER_NAME@ notes something",
        text: "Something in the guest's boot files can't be done as it stands there.",
    },
    Entry {
        kind: Kind::Frozen,
        id: "07608a119d7245cba79662930c9b58cb",
        level: Level::Info,
        subject: "Guest @VSERVER_NAME@ was paused or resumed",
        text: "By 'vserver pause' or 'vserver resume'.",
    },
];

impl Kind {
    /// Its entry in the table.
    pub fn entry(self) -> &'static Entry {
        // The table's order is that of the kinds, as a test sees to.
        ALL.get(self as usize).unwrap_or(&ALL[0])
    }
}

/// The catalog, in systemd's format (<https://systemd.io/CATALOG/>).
pub fn catalog() -> String {
    let mut text = String::from("# What messages of vserver mean, for journalctl -x.\n");
    for entry in ALL {
        let words = entry.text.replace("{n}", "@VSERVER_NAME@");
        let _ = write!(
            text,
            "\n-- {}\nSubject: {}\nDefined-By: vserver\nDocumentation: man:vserver(8)\n\n{words}\n",
            entry.id, entry.subject
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_its_own_entry_and_id() {
        for entry in ALL {
            assert_eq!(entry.kind.entry().id, entry.id);
            let digits = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            assert!(entry.id.len() == 32 && entry.id.chars().all(digits), "{entry:?}");
        }
        let ids: BTreeSet<_> = ALL.iter().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), ALL.len());
    }

    /// Ids are a promise: none may change.
    #[test]
    fn ids_stay_what_they_are() {
        assert_eq!(Kind::Starting.entry().id, "ab1b691b0bdc40b3adfb60817013d232");
        assert_eq!(Kind::Crashed.entry().id, "1bc48f5961cb4b93abae1d707ed26440");
        assert_eq!(Kind::Frozen.entry().id, "07608a119d7245cba79662930c9b58cb");
    }

    #[test]
    fn the_documentation_has_all_of_them() {
        let page = include_str!("../../../docs/journal.md");
        for entry in ALL {
            assert!(page.contains(entry.id), "docs/journal.md doesn't list {:?}", entry.kind);
        }
    }

    #[test]
    fn the_catalog_has_all_of_them() {
        let catalog = catalog();
        assert_eq!(catalog.lines().filter(|line| line.starts_with("-- ")).count(), ALL.len());
        for line in catalog.lines().skip(1) {
            assert!(!line.starts_with('#') && line.len() < 90, "{line:?}");
        }
    }
}
