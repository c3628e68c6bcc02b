//! One message of every kind, with another value in each field: their bytes are the form
//! of this version.

use shared::link;
use shared::message::{Power, Runlevel, Style};
use shared::outcome::Outcome;

use super::{Event, Left, Phase, Request, Snapshot};

/// All of them, as they are sent.
pub(super) fn encoded() -> Vec<Vec<u8>> {
    let requests = requests().into_iter().map(|request| link::encode(&request));
    let events = events().into_iter().map(|event| link::encode(&event));
    requests.chain(events).map(|bytes| bytes.unwrap()).collect()
}

fn requests() -> Vec<Request> {
    use Request::*;
    let stop = |power| Stop { power, timeout_ms: Some(300), no_kill: true };
    let all = vec![
        Status,
        Subscribe,
        Watch(7),
        stop(Power::Halt),
        stop(Power::PowerOff),
        Stop { power: Power::Reboot, timeout_ms: None, no_kill: false },
        Runlevel(self::Runlevel::SINGLE),
        Freeze(true),
        Addresses,
        Reexec("/usr/sbin/vserver".into()),
        Leave,
        Account,
        Lease,
        Hold,
    ];
    for request in &all {
        match request {
            // A new one is to be among those above.
            Status
            | Subscribe
            | Watch(_)
            | Stop { .. }
            | Runlevel(_)
            | Freeze(_)
            | Addresses
            | Reexec(_)
            | Leave
            | Account
            | Lease
            | Hold => {}
        }
    }
    all
}

fn events() -> Vec<Event> {
    use Event::*;
    const PHASES: [self::Phase; 9] = {
        use self::Phase::*;
        [Starting, Booting, Running, Stopping, Rebooting, BackingOff, Stopped, Session, Paused]
    };
    const STYLES: [Style; 7] = {
        use Style::*;
        [Sysv, Busybox, Rc, Init, Rescue, Idle, Command]
    };
    let mut all = vec![
        ScriptStarted { id: 1, name: "S01a".into(), argument: "start".into() },
        ScriptEnded { id: 2, name: "S02b".into(), outcome: Outcome::Exited(3), millis: 4 },
        ScriptEnded { id: 5, name: "c".into(), outcome: Outcome::Killed(9), millis: 6 },
        Note("n".into()),
        Failed { text: "t".into(), hint: Some("h".into()) },
        StopTimedOut,
        Killed,
        Unkillable(vec![Left { pid: 10, state: 'D', tracer: 11 }]),
    ];
    all.extend(PHASES.map(Phase));
    all.extend(STYLES.map(|style| Status(Box::new(snapshot(style)))));
    for event in &all {
        match event {
            // A new one is to be among those above.
            Status(_)
            | Phase(_)
            | ScriptStarted { .. }
            | ScriptEnded { .. }
            | Note(_)
            | Failed { .. }
            | StopTimedOut
            | Killed
            | Unkillable(_) => {}
        }
    }
    all
}

fn snapshot(style: Style) -> Snapshot {
    Snapshot {
        at_ms: 1,
        clock_ms: 2,
        phase: Phase::Running,
        context: 3,
        style: Some(style),
        reason: "because".into(),
        runlevel: Some(Runlevel::MULTI),
        init_pid: 4,
        keeper_pid: 5,
        supervisor_pid: 6,
        uptime_ms: 7,
        boot: 8,
        crashes: 9,
        last_end: Some("end".into()),
        users: "private".into(),
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        processes: 10,
        paused: true,
        frozen: false,
        kills: Some(11),
    }
}
