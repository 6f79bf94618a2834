//! The same, asynchronously; any runtime will do.
use futures::{StreamExt, executor::block_on};
use plimsoll::{Engine, Event, Request};

fn main() -> plimsoll::Result<()> {
    block_on(async {
        let model = Engine::from_lock("models.lock")?.load_async("default").await?;
        let mut answer = model.start(Request::chat().user("What is 12 + 7?").max_tokens(64))?;
        while let Some(event) = answer.next().await {
            if let Event::Text(text) = event? {
                print!("{text}");
            }
        }
        println!();
        Ok(())
    })
}
