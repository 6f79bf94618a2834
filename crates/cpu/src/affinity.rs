//! Which cores a thread runs on.

/// Cores that the calling thread may run on; none where threads cannot be pinned.
pub(crate) fn allowed() -> Vec<usize> {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity};
        let set = sched_getaffinity(None).unwrap_or_default();
        (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
    }
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// Keeps the calling thread on one core, where the system lets it.
pub(crate) fn pin(core: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_setaffinity};
        let mut set = CpuSet::new();
        if core < CpuSet::MAX_CPU {
            set.set(core);
            // A core that has gone since the options were checked is refused, and the thread runs where it may.
            let _ = sched_setaffinity(None, &set);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = core;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_stays_on_its_core() {
        let before = allowed();
        let last = *before.last().unwrap();
        let pinned = std::thread::spawn(move || {
            pin(last);
            allowed()
        });
        assert_eq!(pinned.join().unwrap(), [last]);
        assert_eq!(allowed(), before);
    }
}
