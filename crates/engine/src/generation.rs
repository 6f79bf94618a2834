//! The two ends of a running request: events go in on the engine's side and come out on the caller's.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use futures_core::Stream;

use crate::{Error, Event};

/// A running request: a stream of its events, or with [`blocking`](Self::blocking) an iterator.
///
/// Needs no async runtime and borrows nothing. Events wait here until they are read, so a slow reader holds up no one;
/// there are at most a few per token, so `max_tokens` bounds them. Dropping it cancels the request, also in the middle
/// of the prompt. After [`Event::Finished`] or an error there is nothing more.
#[must_use = "dropping a generation cancels it"]
pub struct Generation {
    shared: Arc<Shared>,
}

/// A [`Generation`] as a blocking iterator.
#[must_use = "dropping a generation cancels it"]
#[derive(Debug)]
pub struct Blocking(Generation);

/// The writing end of a [`Generation`]. Dropping it ends the stream.
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ready: Condvar,
    cancelled: AtomicBool,
}

#[derive(Default)]
struct State {
    events: VecDeque<Result<Event, Error>>,
    closed: bool,
    waker: Option<Waker>,
}

impl Shared {
    /// A panic elsewhere leaves the queue whole: every change to it is a single push, pop or assignment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generation {
    /// A generation and the end that writes its events, for implementations of [`Generate`](crate::Generate).
    pub fn channel() -> (Events, Self) {
        let shared = Arc::new(Shared::default());
        (Events { shared: shared.clone() }, Self { shared })
    }

    /// The events as an iterator that waits for each.
    pub fn blocking(self) -> Blocking {
        Blocking(self)
    }
}

impl Stream for Generation {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.shared.lock();
        match state.events.pop_front() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Iterator for Blocking {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let shared = &self.0.shared;
        let mut state = shared.lock();
        loop {
            if let Some(event) = state.events.pop_front() {
                return Some(event);
            }
            if state.closed {
                return None;
            }
            state = shared.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Events {
    /// Appends an event.
    pub fn send(&self, event: Result<Event, Error>) {
        self.change(|state| state.events.push_back(event));
    }

    /// Whether the reading end has been dropped.
    pub fn cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Relaxed)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.shared.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        self.shared.ready.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.change(|state| state.closed = true);
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("ready", &self.shared.lock().events.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("cancelled", &self.cancelled()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, task::Wake, thread};

    use super::*;

    fn text(text: &str) -> Event {
        Event::Text(text.into())
    }

    #[test]
    fn is_send_and_static() {
        fn check<T: Send + 'static>() {}
        check::<Generation>();
        check::<Blocking>();
        check::<Events>();
    }

    #[test]
    fn the_iterator_waits_for_events_of_another_thread_and_ends_with_the_sender() {
        let (events, generation) = Generation::channel();
        let reader = thread::spawn(move || generation.blocking().map(Result::unwrap).collect::<Vec<_>>());
        events.send(Ok(text("a")));
        events.send(Ok(text("b")));
        drop(events);
        assert_eq!(reader.join().unwrap(), [text("a"), text("b")]);
    }

    #[test]
    fn the_stream_wakes_its_task_once_per_wait() {
        #[derive(Default)]
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut context = Context::from_waker(&waker);
        let (events, mut generation) = Generation::channel();
        let mut poll = || Pin::new(&mut generation).poll_next(&mut context).map(|event| event.map(Result::unwrap));
        assert_eq!(poll(), Poll::Pending);
        events.send(Ok(text("a")));
        events.send(Ok(text("b")));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(), Poll::Ready(Some(text("a"))));
        assert_eq!(poll(), Poll::Ready(Some(text("b"))));
        assert_eq!(poll(), Poll::Pending);
        drop(events);
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        assert_eq!(poll(), Poll::Ready(None));
    }

    #[test]
    fn dropping_the_generation_tells_the_sender() {
        let (events, generation) = Generation::channel();
        assert!(!events.cancelled());
        drop(generation.blocking());
        assert!(events.cancelled());
        events.send(Ok(text("nobody reads this")));
    }
}
