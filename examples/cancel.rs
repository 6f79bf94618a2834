//! Dropping a generation cancels it, also in the middle of its prompt; its cache is free for others at once.
use plimsoll::{Engine, Event, Request};

fn main() -> plimsoll::Result<()> {
    let model = Engine::from_lock("models.lock")?.load("default")?;
    let mut answer = model.start(Request::prompt("1 2 3 4 5 ".repeat(20)).max_tokens(400).ignore_eos())?.blocking();
    let first = answer.find(|event| !matches!(event, Ok(Event::Prefill { .. })));
    println!("the first event of an answer that would be long: {:?}", first.transpose()?);
    println!("while it runs: {:?}", model.health());
    drop(answer);
    while model.health().running > 0 {
        std::thread::yield_now();
    }
    println!("after it was dropped: {:?}", model.health());
    Ok(())
}
