//! Work on many things at once whose results are wanted in order.
use std::{collections::BTreeMap, thread};

use parking_lot::{Condvar, Mutex};

/// Calls `work` with 0 to `count` on this many threads and `take` with the results, in order, on this one. With one thread each is worked on when the
/// one before was taken. No more results wait for their turn than twice the threads, so memory does not grow with `count`.
pub(super) fn in_order<T: Send>(count: u32, threads: usize, work: &(dyn Fn(u32) -> T + Sync), take: &mut dyn FnMut(u32, T)) {
    let threads = threads.min(count as usize);
    if threads <= 1 {
        return (0..count).for_each(|n| take(n, work(n)));
    }
    let queue = Queue { count, ahead: 2 * threads as u32, state: Mutex::new(State::default()), changed: Condvar::new() };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let _guard = Guard(&queue);
                while let Some(n) = queue.begin() {
                    let done = work(n);
                    queue.state.lock().done.insert(n, done);
                    queue.changed.notify_all();
                }
            });
        }
        let _guard = Guard(&queue);
        for n in 0..count {
            let Some(done) = queue.wait_for(n) else { break };
            take(n, done);
        }
    });
}

struct Queue<T> {
    count: u32,
    /// How far past the last one taken work may begin.
    ahead: u32,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    next: u32,
    taken: u32,
    /// Results that wait for those before them.
    done: BTreeMap<u32, T>,
    /// A thread panicked: nobody waits for its result.
    failed: bool,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self { next: 0, taken: 0, done: BTreeMap::new(), failed: false }
    }
}

impl<T> Queue<T> {
    /// The next one to work on, once it is not too far ahead; `None` when there is none.
    fn begin(&self) -> Option<u32> {
        let mut state = self.state.lock();
        while !state.failed && state.next < self.count && state.next >= state.taken + self.ahead {
            self.changed.wait(&mut state);
        }
        let n = state.next;
        state.next += 1;
        (!state.failed && n < self.count).then_some(n)
    }

    fn wait_for(&self, n: u32) -> Option<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(done) = state.done.remove(&n) {
                state.taken = n + 1;
                self.changed.notify_all();
                return Some(done);
            }
            if state.failed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}

/// Lets nobody wait for a thread that panicked; the scope then passes the panic on.
struct Guard<'a, T>(&'a Queue<T>);

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.state.lock().failed = true;
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    #[test]
    fn results_come_in_order_and_few_wait() {
        for threads in [1, 2, 3, 8] {
            let (begun, mut taken) = (AtomicU32::new(0), Vec::new());
            let work = |n: u32| {
                begun.fetch_add(1, SeqCst);
                // Every third takes longer than those after it.
                thread::sleep(std::time::Duration::from_micros(if n.is_multiple_of(3) { 700 } else { 10 }));
                n * n
            };
            in_order(100, threads, &work, &mut |n, square| {
                assert_eq!(square, n * n);
                assert!(begun.load(SeqCst) <= n + 1 + 2 * threads as u32, "{threads} threads");
                taken.push(n);
            });
            assert_eq!(taken, (0..100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_panic_is_passed_on() {
        for threads in [1, 4] {
            let fails_in_work = std::panic::catch_unwind(|| {
                in_order(50, threads, &|n| assert_ne!(n, 20), &mut |_, ()| {});
            });
            let fails_in_take = std::panic::catch_unwind(|| {
                in_order(50, threads, &|n| n, &mut |n, _| assert_ne!(n, 20));
            });
            assert!(fails_in_work.is_err() && fails_in_take.is_err());
        }
    }
}
