//! The threads of one engine.
//!
//! A phase is cut into units. Each thread claims those of its own share one by one, in order, and then those that others have
//! not come to: whoever is slowed down by something else on the machine does fewer. The caller works too, and waits only for threads that hold a unit: one that the system has not woken yet is
//! shut out of the phase. Waiting is a short spin, then sleep, so that a thread preempted in a unit finds a free core.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::affinity::pin;
use crate::shared::Split;

/// How long a thread looks for work before it sleeps.
const SPIN: Duration = Duration::from_micros(60);

/// State: the number of the phase, whether it is open, and how many workers are inside.
const OPEN: usize = 1 << 15;
const INSIDE: usize = OPEN - 1;
const PHASE: usize = OPEN << 1;

type Unit = dyn Fn(usize) + Sync;

struct Phase {
    run: *const Unit,
    units: usize,
}

struct Shared {
    state: AtomicUsize,
    phase: UnsafeCell<Phase>,
    /// Units claimed of each thread's share.
    claimed: Vec<Claimed>,
    panicked: AtomicBool,
    stop: AtomicBool,
    caller: UnsafeCell<Option<Thread>>,
    /// Which workers sleep.
    asleep: Vec<AtomicBool>,
}

// SAFETY: `phase` and `caller` are written by the one caller while no worker is inside an open phase, and read by workers
// inside one only; entering acquires what opening released.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `phase` is used under the same rule, for a closure that is `Sync`.
unsafe impl Send for Shared {}

/// A pool of threads, of which the caller is one.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    cores: Vec<usize>,
    pinned: Cell<bool>,
}

impl Pool {
    /// `threads` in all, each pinned to one of `cores` in turn unless there are none.
    ///
    /// # Errors
    /// What the system says when it gives no thread.
    pub(crate) fn new(threads: usize, cores: &[usize]) -> std::io::Result<Self> {
        let workers = threads.saturating_sub(1).min(INSIDE - 1);
        let shared = Arc::new(Shared {
            state: AtomicUsize::new(0),
            phase: UnsafeCell::new(Phase { run: &|_| (), units: 0 }),
            claimed: (0..=workers).map(|_| Claimed::default()).collect(),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            caller: UnsafeCell::new(None),
            asleep: (0..workers).map(|_| AtomicBool::new(false)).collect(),
        });
        let mut pool = Self { shared, workers: Vec::new(), cores: cores.to_vec(), pinned: Cell::new(false) };
        for index in 0..workers {
            let (shared, core) = (pool.shared.clone(), pool.core(index + 1));
            let builder = std::thread::Builder::new().name(format!("plimsoll-cpu-{}", index + 1));
            pool.workers.push(builder.spawn(move || {
                core.into_iter().for_each(pin);
                shared.work(index);
            })?);
        }
        Ok(pool)
    }

    /// Threads, the caller included.
    pub(crate) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Keeps the calling thread on the first core, if it is the first to call this: the one that runs the steps, and not the
    /// one that loads, which is the application's.
    pub(crate) fn pin_caller(&self) {
        if !self.pinned.replace(true) {
            self.core(0).into_iter().for_each(pin);
        }
    }

    /// Calls `run` once for every unit, on all threads, and returns when all are done.
    ///
    /// # Panics
    /// If a unit does.
    pub(crate) fn run(&self, units: usize, run: &(dyn Fn(usize) + Sync)) {
        if units < 2 || self.workers.is_empty() {
            (0..units).for_each(run);
            return;
        }
        // SAFETY: no worker is inside: the last phase was closed and left before its `run` returned. The closure
        // outlives this call, and `Close` keeps this call from ending before every worker has left.
        let shared = &*self.shared;
        unsafe {
            let run = std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), *const Unit>(run);
            *shared.phase.get() = Phase { run, units };
            *shared.caller.get() = Some(std::thread::current());
        }
        shared.claimed.iter().for_each(|claimed| claimed.0.store(0, Relaxed));
        shared.state.fetch_add(PHASE + OPEN, SeqCst);
        let close = Close(shared);
        for (worker, asleep) in self.workers.iter().zip(&shared.asleep) {
            if asleep.load(SeqCst) {
                worker.thread().unpark();
            }
        }
        shared.claim(0, units, run);
        drop(close);
        if shared.panicked.load(Acquire) {
            panic!("a thread of the CPU backend panicked");
        }
    }

    /// Calls `run` with every part of `split`, on all threads.
    pub(crate) fn each<S: Split>(&self, split: S, run: impl Fn(usize, S::Part) + Sync) {
        // SAFETY: `run` calls every index below `parts()` once.
        self.run(split.parts(), &|i| run(i, unsafe { split.part(i) }));
    }

    fn core(&self, index: usize) -> Option<usize> {
        (!self.cores.is_empty()).then(|| self.cores[index % self.cores.len()])
    }
}

/// Closes the phase and waits for the workers inside, also when the caller's own unit panics.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        shared.state.fetch_and(!OPEN, SeqCst);
        wait(|| shared.state.load(Acquire) & INSIDE == 0, std::thread::park);
    }
}

impl Shared {
    fn work(&self, index: usize) {
        let mut seen = 0;
        loop {
            let fresh = || {
                let state = self.state.load(Acquire);
                self.stop.load(Acquire) || (state & OPEN != 0 && state / PHASE != seen)
            };
            wait(fresh, || {
                self.asleep[index].store(true, SeqCst);
                if !fresh() {
                    std::thread::park();
                }
                self.asleep[index].store(false, SeqCst);
            });
            if self.stop.load(Acquire) {
                return;
            }
            let Some(phase) = self.enter() else { continue };
            seen = phase;
            let inside = Inside(self);
            // SAFETY: this worker is inside an open phase, so the caller waits for it before it ends the closure's life.
            let (run, units) = unsafe {
                let phase = &*self.phase.get();
                (&*phase.run, phase.units)
            };
            self.claim(index + 1, units, run);
            drop(inside);
        }
    }

    /// Counts this worker as inside, if the phase is open.
    fn enter(&self) -> Option<usize> {
        let state = self.state.load(Acquire);
        let open = state & OPEN != 0;
        (open && self.state.compare_exchange(state, state + 1, SeqCst, Relaxed).is_ok()).then_some(state / PHASE)
    }

    /// Runs the units of a thread's own share, in order, then what is left of the others'.
    fn claim(&self, own: usize, units: usize, run: &(dyn Fn(usize) + Sync)) {
        let threads = self.claimed.len();
        for share in (own..threads).chain(0..own) {
            let (first, end) = (share * units / threads, (share + 1) * units / threads);
            while let unit = first + self.claimed[share].0.fetch_add(1, Relaxed)
                && unit < end
            {
                run(unit);
            }
        }
    }
}

/// A counter on a line of the cache of its own.
#[derive(Default)]
#[repr(align(64))]
struct Claimed(AtomicUsize);

/// A worker inside a phase; leaves it also by panic.
struct Inside<'a>(&'a Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let shared = self.0;
        if std::thread::panicking() {
            shared.panicked.store(true, Release);
        }
        // SAFETY: still inside, so `caller` is not written. It is read before leaving, after which it may be.
        let caller = unsafe { (*shared.caller.get()).clone() };
        let before = shared.state.fetch_sub(1, SeqCst);
        if before & INSIDE == 1 && before & OPEN == 0 {
            caller.inspect(Thread::unpark);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker that panicked has been reported by the phase it panicked in.
            drop(worker.join());
        }
    }
}

/// Returns when `done` says so: looks for a while, then sleeps between looks.
fn wait(done: impl Fn() -> bool, sleep: impl Fn()) {
    for _ in 0..200 {
        if done() {
            return;
        }
        std::hint::spin_loop();
    }
    let begun = Instant::now();
    while begun.elapsed() < SPIN {
        for _ in 0..20 {
            if done() {
                return;
            }
            std::hint::spin_loop();
        }
    }
    while !done() {
        sleep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::{Chunks, Strips};

    #[test]
    fn every_unit_runs_once() {
        for threads in [1, 2, 3, 8] {
            let pool = Pool::new(threads, &[]).unwrap();
            assert_eq!(pool.threads(), threads);
            for units in [0, 1, 2, 7, 100] {
                for _ in 0..200 {
                    let counts: Vec<_> = (0..units).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(units, &|unit| _ = counts[unit].fetch_add(1, Relaxed));
                    assert!(counts.iter().all(|count| count.load(Relaxed) == 1), "{threads} threads, {units} units");
                }
            }
        }
    }

    #[test]
    fn sleeping_threads_are_woken() {
        let pool = Pool::new(3, &[0]).unwrap();
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            let sum = AtomicUsize::new(0);
            pool.run(50, &|unit| _ = sum.fetch_add(unit, Relaxed));
            assert_eq!(sum.load(Relaxed), 49 * 50 / 2);
        }
    }

    #[test]
    fn parts_are_disjoint_and_complete() {
        let pool = Pool::new(4, &[]).unwrap();
        let (mut matrix, mut list) = (vec![0; 5 * 10], vec![0; 4]);
        pool.each((Strips::new(&mut matrix, 10, 7, 2), Chunks::new(&mut list, 1)), |i, (mut strip, chunk)| {
            (0..5).for_each(|row| strip.row(row).iter_mut().for_each(|value| *value += 10 * row + i + 1));
            chunk[0] += i;
        });
        for (row, values) in matrix.chunks(10).enumerate() {
            let expected: Vec<_> = [1, 1, 2, 2, 3, 3, 4].iter().map(|i| 10 * row + i).chain([0; 3]).collect();
            assert_eq!(values, expected);
        }
        assert_eq!(list, [0, 1, 2, 3]);
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let pool = Pool::new(2, &[]).unwrap();
        for unit in [0, 63] {
            let run = || pool.run(64, &|i| assert!(i != unit, "unit {i}"));
            assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
        }
    }
}
