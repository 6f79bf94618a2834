//! The thread that owns a model.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use crate::{
    Error, Health,
    options::{KvCache, Options},
    scheduler::{Job, Scheduler, Sink},
    step::Step,
};

/// A running engine thread. Dropping it ends the thread after the step it is in and waits for that, so that the
/// model's memory is free afterwards.
#[derive(Debug)]
pub(crate) struct EngineThread<K> {
    jobs: Option<Sender<Job<K>>>,
    handle: Option<JoinHandle<()>>,
    status: Arc<Status>,
}

/// What the thread tells the world about itself.
#[derive(Debug)]
pub(crate) struct Status {
    /// Requests may wait, at most this many.
    queue: usize,
    waiting: AtomicUsize,
    stopping: AtomicBool,
    health: Mutex<Health>,
}

/// A place in the queue, given back when dropped.
#[derive(Debug)]
pub(crate) struct Ticket(Arc<Status>);

impl<K: Sink + Send + 'static> EngineThread<K> {
    /// Moves `model`, whose cache has the size `cache`, into a new thread.
    ///
    /// # Errors
    /// [`Error::Thread`] if the system gives none.
    pub(crate) fn start(model: impl Step + 'static, options: Options, cache: KvCache) -> Result<Self, Error> {
        let health = Health { blocks: cache.blocks, blocks_available: cache.blocks, ..Health::default() };
        let status = Arc::new(Status {
            queue: options.queue,
            waiting: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            health: Mutex::new(health),
        });
        let (jobs, receiver) = channel();
        let shared = status.clone();
        let work = move || serve(model, Scheduler::new(options, cache), &receiver, &shared);
        let handle = thread::Builder::new().name("plimsoll-engine".into()).spawn(work).map_err(Error::Thread)?;
        Ok(Self { jobs: Some(jobs), handle: Some(handle), status })
    }

    /// What the thread tells about itself.
    pub(crate) fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Hands a job over. The channel has no bound of its own: whoever sends holds a [`Ticket`].
    ///
    /// # Errors
    /// That of [`Status::ended`] if there is no thread any more.
    pub(crate) fn send(&self, job: Job<K>) -> Result<(), Error> {
        match &self.jobs {
            Some(jobs) => jobs.send(job).map_err(|_| self.status.ended()),
            None => Err(self.status.ended()),
        }
    }
}

impl<K> Drop for EngineThread<K> {
    fn drop(&mut self) {
        self.status.stopping.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(handle) = self.handle.take() {
            // A waker runs in the engine thread and may drop the engine there.
            if handle.thread().id() != thread::current().id() {
                // A panic of the thread has been reported where it happened.
                let _ = handle.join();
            }
        }
    }
}

impl Status {
    /// A place in the queue.
    ///
    /// # Errors
    /// [`Error::Busy`] if all are taken.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Ticket, Error> {
        let next = |waiting| (waiting < self.queue).then_some(waiting + 1);
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(_) => Ok(Ticket(self.clone())),
            Err(waiting) => Err(Error::Busy { waiting, limit: self.queue }),
        }
    }

    /// How the engine is doing.
    pub(crate) fn health(&self) -> Health {
        Health { waiting: self.waiting.load(Ordering::Relaxed), ..self.lock().clone() }
    }

    /// The engine has been dropped.
    pub(crate) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Why the thread answers no more.
    pub(crate) fn ended(&self) -> Error {
        match &self.lock().failed {
            Some(reason) => Error::Failed { reason: reason.clone() },
            None => Error::Stopped,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Of the thread whose queue it is.
    pub(crate) fn status(&self) -> &Arc<Status> {
        &self.0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves until the engine is dropped or the model panics. Sinks that are left are dropped, and tell their readers.
fn serve<K: Sink>(mut model: impl Step, mut scheduler: Scheduler<K>, jobs: &Receiver<Job<K>>, status: &Status) {
    loop {
        if scheduler.idle() {
            let Ok(job) = jobs.recv() else { return };
            scheduler.add(job);
        }
        jobs.try_iter().for_each(|job| scheduler.add(job));
        if status.stopping() {
            return;
        }
        // After a panic neither the model nor the scheduler is used again.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| scheduler.step(&mut model))) {
            status.lock().failed = Some(reason(&*panic));
            return;
        }
        let mut health = status.lock();
        health.running = scheduler.running();
        health.blocks_available = scheduler.blocks_available();
    }
}

/// What a panic said.
fn reason(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".into())
}
