//! The same for many guests, side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Builder};

/// Does it for all, in as many threads as that takes, this one among them, but never
/// in more than `most`. What threads can't be made for is done by those that there are.
/// What comes of each stands in the order of the items; `None` is one that came to no end.
pub(super) fn abreast<I: Sync, T: Send>(
    items: &[I],
    most: usize,
    work: impl Fn(&I) -> T + Sync,
) -> Vec<Option<T>> {
    with(&Builder::new, items, most, work)
}

fn with<I: Sync, T: Send>(
    builder: &dyn Fn() -> Builder,
    items: &[I],
    most: usize,
    work: impl Fn(&I) -> T + Sync,
) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let share = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut all: Vec<Option<T>> = items.iter().map(|_| None).collect();
    let done: Vec<_> = thread::scope(|scope| {
        let others = 1..items.len().min(most);
        let threads: Vec<_> =
            others.map_while(|_| builder().spawn_scoped(scope, share).ok()).collect();
        let own = share();
        let theirs = threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default());
        own.into_iter().chain(theirs).collect()
    });
    for (index, end) in done {
        all[index] = Some(end);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::time::Duration;

    #[test]
    fn no_more_are_done_at_a_time_than_may_be() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let items: Vec<u32> = (0..20).collect();
        let done = abreast(&items, 3, |item| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(2));
            now.fetch_sub(1, Ordering::SeqCst);
            item * 2
        });
        assert_eq!(done, items.iter().map(|item| Some(item * 2)).collect::<Vec<_>>());
        assert!(most.into_inner() <= 3);
    }

    #[test]
    fn what_no_thread_can_be_made_for_is_done_in_this_one() {
        let threads = Mutex::new(Vec::new());
        // More than any address space has room for.
        let none = || Builder::new().stack_size(1 << 56);
        let done = with(&none, &[1, 2, 3], 16, |item| {
            threads.lock().unwrap().push(thread::current().id());
            *item
        });
        assert_eq!(done, [Some(1), Some(2), Some(3)]);
        assert!(threads.into_inner().unwrap().iter().all(|id| *id == thread::current().id()));
    }
}
