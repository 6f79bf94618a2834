//! The ten lines of an application: an answer from the default model of the lock.
use plimsoll::{Engine, Event, Request};

fn main() -> plimsoll::Result<()> {
    let model = Engine::from_lock("models.lock")?.load("default")?; // verified; no network code linked
    for event in model.start(Request::chat().user("What is 12 + 7?").max_tokens(64))?.blocking() {
        if let Event::Text(text) = event? {
            print!("{text}");
        }
    }
    println!();
    Ok(())
}
