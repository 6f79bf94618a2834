//! What the model was sure of: each token with its probability and the two best alternatives.
use plimsoll::{Engine, Event, Request};

fn main() -> plimsoll::Result<()> {
    let model = Engine::from_lock("models.lock")?.load("default")?;
    for event in model.start(Request::chat().user("What is 12 + 7?").max_tokens(64).logprobs(3))?.blocking() {
        if let Event::Token(token) = event? {
            println!("{token:?}");
        }
    }
    Ok(())
}
