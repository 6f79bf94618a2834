//! Dropping a generation cancels it, also in the middle of its prompt; its cache is free for others at once.
use plimsoll::{Engine, Request};

fn main() -> plimsoll::Result<()> {
    let model = Engine::from_lock("models.lock")?.load("default")?;
    let mut answer = model.start(Request::prompt("1 2 3 4 5 ".repeat(20)).max_tokens(400).ignore_eos())?.blocking();
    // Health is that of the last step, so let a few pass.
    for event in answer.by_ref().take(8) {
        println!("of an answer that would be long: {:?}", event?);
    }
    println!("while it runs: {:?}", model.health());
    drop(answer);
    while model.health().running > 0 {
        std::thread::yield_now();
    }
    println!("after it was dropped: {:?}", model.health());
    Ok(())
}
