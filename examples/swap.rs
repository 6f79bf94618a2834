//! One prompt through every model of the lock: the code does not know which families they are.
use plimsoll::{Engine, Event, Request};

fn main() -> plimsoll::Result<()> {
    let engine = Engine::from_lock("models.lock")?;
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "What is 12 + 7?".into());
    for name in engine.models() {
        let model = engine.load(name)?;
        print!("{name} ({}): ", model.info().family);
        for event in model.start(Request::chat().user(&prompt).max_tokens(64))?.blocking() {
            if let Event::Text(text) = event? {
                print!("{text}");
            }
        }
        println!();
    }
    Ok(())
}
