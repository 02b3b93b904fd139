//! Many files at once, their results one file after the other: the same input gives the same output, whatever the threads do.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// How many results of one file wait for those of the files before it.
const WAITING: usize = 256;

/// Runs `work` on every item with `threads` threads, each with its own state, and hands all results to `take` in the order of the items.
///
/// A thread that is ahead waits, so memory does not grow with the input. `work` sends results and stops early when told `false`.
///
/// # Errors
/// The first error of `take`; work under way is stopped.
pub(crate) fn in_order<T: Sync, S, P: Send>(
    items: &[T],
    threads: usize,
    state: impl Fn() -> S + Sync,
    work: impl Fn(&T, &mut S, &mut dyn FnMut(P) -> bool) + Sync,
    mut take: impl FnMut(P) -> io::Result<()>,
) -> io::Result<()> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (announce, announced) = sync_channel::<(usize, Receiver<P>)>(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            let announce = announce.clone();
            let (next, stop, state, work) = (&next, &stop, &state, &work);
            scope.spawn(move || worker(items, next, stop, &announce, state, work));
        }
        drop(announce);
        let done = collect(items.len(), &announced, &mut take);
        stop.store(true, Ordering::Relaxed);
        // Threads that wait for room see their receivers gone and end.
        drop(announced);
        done
    })
}

fn worker<T, S, P>(
    items: &[T],
    next: &AtomicUsize,
    stop: &AtomicBool,
    announce: &SyncSender<(usize, Receiver<P>)>,
    state: &impl Fn() -> S,
    work: &impl Fn(&T, &mut S, &mut dyn FnMut(P) -> bool),
) {
    let mut state = state();
    while !stop.load(Ordering::Relaxed) {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = items.get(at) else { return };
        let (send, receive) = sync_channel(WAITING);
        if announce.send((at, receive)).is_err() {
            return;
        }
        work(item, &mut state, &mut |piece| send.send(piece).is_ok());
    }
}

fn collect<P>(
    count: usize,
    announced: &Receiver<(usize, Receiver<P>)>,
    take: &mut impl FnMut(P) -> io::Result<()>,
) -> io::Result<()> {
    let mut ahead: BTreeMap<usize, Receiver<P>> = BTreeMap::new();
    for at in 0..count {
        while !ahead.contains_key(&at) {
            match announced.recv() {
                Ok((index, results)) => ahead.insert(index, results),
                Err(_) => return Err(io::Error::other("a reading thread ended early")),
            };
        }
        let Some(results) = ahead.remove(&at) else { continue };
        for piece in results {
            take(piece)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whoever_is_first() {
        let items: Vec<usize> = (0..50).collect();
        let mut seen = Vec::new();
        let work = |item: &usize, _: &mut (), send: &mut dyn FnMut(usize) -> bool| {
            std::thread::sleep(std::time::Duration::from_micros((50 - *item as u64) * 20));
            (0..600).for_each(|n| {
                send(item * 1000 + n);
            });
        };
        in_order(
            &items,
            4,
            || (),
            work,
            |piece| {
                seen.push(piece);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen.len(), 30_000);
        assert!(seen.is_sorted());
    }

    #[test]
    fn an_error_of_the_taker_stops_everything() {
        let items: Vec<usize> = (0..1000).collect();
        let work = |item: &usize, _: &mut (), send: &mut dyn FnMut(usize) -> bool| while send(*item) {};
        let result = in_order(&items, 3, || (), work, |_| Err(io::ErrorKind::BrokenPipe.into()));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
