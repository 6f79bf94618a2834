//! models.lock and models.toml: a text is refused, or means the same after it was written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_lock::{Lock, Manifest};

fuzz_target!(|text: &str| {
    let _ = Manifest::parse("models.toml".as_ref(), text);
    let Ok(lock) = Lock::parse("models.lock".as_ref(), text) else { return };
    let written = Lock::new(lock.models().to_vec()).expect("what was read can be written");
    let again = Lock::parse("models.lock".as_ref(), written.text()).expect("what was written can be read");
    assert_eq!(again.models(), written.models());
    assert!(lock.changes(&again).is_empty());
});
