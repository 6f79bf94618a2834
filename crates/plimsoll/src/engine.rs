//! From a lock to models that answer.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use plimsoll_engine::{Generate, Opened, Options, Progress};
use plimsoll_lock::{Project, Verified};

use crate::{CpuOptions, Device, Error, Result};

/// How models are loaded.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Where they run.
    pub device: Device,
    /// Threads, instruction set and kind of cache on the processor.
    pub cpu: CpuOptions,
    /// Bytes of KV cache at most; by default eight full contexts, within 1 GiB and what a GPU has free.
    pub kv_bytes: Option<u64>,
    /// Bytes of a GPU's memory at most. Of a model that takes more, as many of the last layers as fit run there and the others
    /// on the processor. Without a budget [`Device::Auto`] does so with what is free, and a GPU that was asked for refuses.
    pub gpu_bytes: Option<u64>,
    /// Have NVIDIA's cublasLt compute prompts on a GPU, where it is installed: quicker, but what is computed depends, in the last
    /// bits, on what is computed with it.
    pub fast_prefill: bool,
    /// Limits of scheduling; by default what suits the device.
    pub options: Option<Options>,
}

/// Loads the models of a lock. Every model it hands out runs in a thread of its own and shares nothing with the others.
#[derive(Clone, Debug)]
pub struct Engine {
    project: Arc<Project>,
    settings: Settings,
}

impl Engine {
    /// Reads `models.lock`, and `models.toml` beside it where it is there.
    ///
    /// # Errors
    /// [`Error::Lock`] if either is missing or not sound.
    pub fn from_lock(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self { project: Arc::new(Project::open(path.as_ref())?), settings: Settings::default() })
    }

    /// Loads with other settings from now on.
    pub fn with_settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Lock and manifest.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Names of the locked models.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.project.lock().models().iter().map(|model| model.name.as_str())
    }

    /// Verifies a model and loads it; `default` is the one that `models.toml` says. Takes as long as hashing its files:
    /// in async code use [`load_async`](Self::load_async).
    ///
    /// # Errors
    /// [`Error::Lock`] for an unknown model and for files that are not what the lock says; [`Error::Engine`] for a model
    /// that cannot be run.
    pub fn load(&self, name: &str) -> Result<Arc<dyn Generate>> {
        let verified = self.project.verify(name, &|_, _| ())?;
        self.start(Opened::new(verified)?)
    }

    /// [`load`](Self::load) in a thread of its own; works in every runtime.
    pub fn load_async(&self, name: &str) -> Loading {
        let (engine, name) = (self.clone(), name.to_owned());
        Loading::spawn(move || engine.load(&name))
    }

    /// Starts a model that was opened by hand.
    ///
    /// # Errors
    /// [`Error::Engine`] if it cannot be run with these settings.
    pub fn start(&self, opened: Opened) -> Result<Arc<dyn Generate>> {
        self.settings.start(opened)
    }
}

impl Settings {
    /// Starts a model that was opened by hand.
    ///
    /// # Errors
    /// [`Error::Engine`] if it cannot be run with these settings.
    pub fn start(&self, opened: Opened) -> Result<Arc<dyn Generate>> {
        self.start_reporting(opened, &|_, _| ())
    }

    /// [`start`](Self::start), telling `progress` how far it is loaded.
    ///
    /// # Errors
    /// The same.
    pub fn start_reporting(&self, opened: Opened, progress: Progress<'_>) -> Result<Arc<dyn Generate>> {
        Ok(Arc::new(self.local(opened, progress)?))
    }
}

/// A model being loaded; a future of it.
pub struct Loading(Arc<Mutex<State>>);

enum State {
    Running(Option<Waker>),
    Done(Option<Result<Arc<dyn Generate>>>),
}

/// Puts a result where the future finds it; dropped without one, it reports the panic.
struct Promise(Arc<Mutex<State>>);

impl Promise {
    fn fulfil(&self, result: Result<Arc<dyn Generate>>) {
        let before =
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Done(Some(result)));
        if let State::Running(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let running = matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), State::Running(_));
        if running {
            self.fulfil(Err(Error::Panicked));
        }
    }
}

impl Loading {
    fn spawn(load: impl FnOnce() -> Result<Arc<dyn Generate>> + Send + 'static) -> Self {
        let state = Arc::new(Mutex::new(State::Running(None)));
        let promise = Promise(state.clone());
        let thread = std::thread::Builder::new().name("plimsoll-load".into());
        if let Err(error) = thread.spawn(move || promise.fulfil(load())) {
            *state.lock().unwrap_or_else(PoisonError::into_inner) = State::Done(Some(Err(Error::Thread(error))));
        }
        Self(state)
    }
}

impl Future for Loading {
    type Output = Result<Arc<dyn Generate>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Running(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            State::Done(result) => match result.take() {
                Some(result) => Poll::Ready(result),
                None => Poll::Pending, // polled again after it was ready
            },
        }
    }
}

/// Opens a model and verifies nothing: the deliberate way round the lock, which every answer is marked with.
///
/// # Errors
/// [`Error::Lock`] if the files cannot be opened; [`Error::Engine`] if they make no model.
pub fn open_unlocked(path: impl AsRef<Path>) -> Result<Opened> {
    Ok(Opened::new(Verified::unlocked(path.as_ref())?)?)
}
