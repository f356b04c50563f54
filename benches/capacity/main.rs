//! How much a store holds, and what that costs. `cargo bench --bench capacity -- 1000000` fills the embedded store with small
//! messages over a day of its own clock, then looks at lists, the start, the expiry of half of it beside deliveries, memory
//! and disk; `-- redis 200000` does the same with a Redis that it starts, and measures then how soon another program is woken
//! and what large messages cost the small ones. Their files lie below `target`, where the disk is a real one: a Redis is told
//! so by `TMPDIR`.
#![expect(clippy::print_stdout, reason = "what was measured is printed")]

mod embedded;
mod lab;
mod redis;

use std::env;

/// What `cargo bench` runs with when it is told no number.
const MESSAGES: usize = 20_000;

#[tokio::main]
async fn main() {
    let messages = env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(MESSAGES);
    if env::args().any(|argument| argument == "redis") {
        redis::run(messages).await;
    } else {
        embedded::run(messages).await;
    }
}
