//! Differences between two readings, by the second. The kernel only counts
//! up, except where a guest has been booted anew between the two: then
//! nothing is known.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::accounting::Account;
use crate::membership::Context;

/// What a context uses by the second; `None` where it isn't counted, or
/// there is nothing to compare with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Percent of one processor.
    pub cpu: Option<f64>,
    /// Bytes read from block devices.
    pub read: Option<u64>,
    /// Bytes written to them.
    pub written: Option<u64>,
    /// Bytes received from the network.
    pub received: Option<u64>,
    /// Bytes sent to it.
    pub sent: Option<u64>,
}

impl Rates {
    /// Between two accounts of a context.
    pub fn between(before: &Account, now: &Account, span: Duration) -> Self {
        // Another first process is another boot, or the end of a session that
        // was there before it: in both cases other counters may be added up.
        if before.processes.first != now.processes.first {
            return Self::default();
        }
        let bytes = |then: Option<u64>, now: Option<u64>| {
            per_second(now?.checked_sub(then?)? as f64, span).map(|rate| rate as u64)
        };
        let received = |account: &Account| account.network.map(|(received, _)| received);
        let sent = |account: &Account| account.network.map(|(_, sent)| sent);
        Self {
            cpu: percent(before.user + before.system, now.user + now.system, span),
            read: bytes(before.usage.read, now.usage.read),
            written: bytes(before.usage.written, now.usage.written),
            received: bytes(received(before), received(now)),
            sent: bytes(sent(before), sent(now)),
        }
    }
}

/// Percent of one processor that the host itself uses, from the accounts of all
/// contexts.
///
/// Its own account is what all processors have done without what the others have
/// ([`crate::accounting::survey`]), so all of them together are the whole. When
/// another context goes or begins anew, its time falls to the host's account at
/// once; here it doesn't.
pub fn of_host(
    before: &BTreeMap<&Context, &Account>,
    now: &BTreeMap<&Context, &Account>,
    span: Duration,
) -> Option<f64> {
    let time = |account: &Account| account.user + account.system;
    let whole = |accounts: &BTreeMap<_, &Account>| accounts.values().copied().map(time).sum();
    let (then, whole): (Duration, Duration) = (whole(before), whole(now));
    let others = now.iter().filter(|(context, _)| ***context != Context::Main);
    let others = others.map(|(context, account)| match before.get(context) {
        Some(then) if then.processes.first == account.processes.first => {
            time(account).saturating_sub(time(then))
        }
        _ => time(account),
    });
    let own = whole.checked_sub(then)?.saturating_sub(others.sum());
    percent(Duration::ZERO, own, span)
}

/// Percent of one processor, from times on processors.
pub fn percent(before: Duration, now: Duration, span: Duration) -> Option<f64> {
    let used = now.checked_sub(before)?;
    per_second(used.as_secs_f64() * 100.0, span)
}

fn per_second(amount: f64, span: Duration) -> Option<f64> {
    (span > Duration::ZERO).then(|| amount / span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::{Processes, Usage};
    use proptest::prelude::*;

    fn account(user: u64, read: Option<u64>, first: i32) -> Account {
        Account {
            user: Duration::from_millis(user),
            usage: Usage { read, ..Usage::default() },
            processes: Processes {
                first: Some((Duration::from_secs(1), first)),
                ..Processes::default()
            },
            network: Some((user, 2 * user)),
            ..Account::default()
        }
    }

    #[test]
    fn a_rate_is_a_difference_by_the_second() {
        let span = Duration::from_secs(2);
        let rates = Rates::between(&account(1000, Some(10), 7), &account(2000, Some(30), 7), span);
        let wanted = Rates {
            cpu: Some(50.0),
            read: Some(10),
            written: None,
            received: Some(500),
            sent: Some(1000),
        };
        assert_eq!(rates, wanted);
    }

    #[test]
    fn nothing_is_known_over_a_reboot() {
        let span = Duration::from_secs(2);
        let rates = Rates::between(&account(1000, Some(10), 7), &account(2000, Some(30), 8), span);
        assert_eq!(rates, Rates::default());
    }

    /// The processors do 3 s of work in 2 s, of which the host does 1.
    #[test]
    fn the_hosts_own_work_is_the_same_whatever_becomes_of_guests() {
        let web = Context::Guest("web".parse().unwrap());
        let span = Duration::from_secs(2);
        let host = |whole: u64, guest: Option<&Account>| {
            account(whole - guest.map_or(0, |web| web.user.as_millis() as u64), None, 1)
        };
        let cpu = |then: Option<Account>, now: Option<Account>| {
            let hosts = [host(90_000, then.as_ref()), host(93_000, now.as_ref())];
            let all = |at: usize, guest: Option<&'_ Account>| {
                let guest = guest.map(|account| (web.clone(), account.clone()));
                [(Context::Main, hosts[at].clone())].into_iter().chain(guest).collect()
            };
            let accounts: [Vec<(Context, Account)>; 2] =
                [all(0, then.as_ref()), all(1, now.as_ref())];
            let [then, now] =
                accounts.each_ref().map(|all| all.iter().map(|(c, a)| (c, a)).collect());
            of_host(&then, &now, span)
        };
        let web = |millis, first| Some(account(millis, None, first));
        assert_eq!(cpu(web(50_000, 7), web(52_000, 7)), Some(50.0));
        // It has been booted anew, or for the first time.
        assert_eq!(cpu(web(50_000, 7), web(2_000, 8)), Some(50.0));
        assert_eq!(cpu(None, web(2_000, 8)), Some(50.0));
        // What it did before its end isn't known: at most all of it.
        assert_eq!(cpu(web(50_000, 7), None), Some(150.0));
    }

    proptest! {
        #[test]
        fn no_pair_of_readings_is_too_strange(
            before in any::<u32>(), now in any::<u32>(), read in any::<Option<u64>>(),
            later in any::<Option<u64>>(), span in 0..100_000_u64,
        ) {
            let span = Duration::from_millis(span);
            let one = account(before.into(), read, 1);
            let rates = Rates::between(&one, &account(now.into(), later, 1), span);
            prop_assert_eq!(rates.cpu.is_some(), now >= before && !span.is_zero());
            prop_assert!(rates.cpu.is_none_or(|cpu| cpu.is_finite() && cpu >= 0.0));
            prop_assert!(rates.read.is_none() || later >= read);
        }
    }
}
