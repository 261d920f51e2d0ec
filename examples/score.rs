//! Scores texts with the reward model: cargo run --example score [REWARD_MODEL]
//! The argument is a RoBERTa classifier's folder in Hugging Face layout; without it, the tiny one of this repository.
#![allow(clippy::print_stdout)]

use detox_lab::Result;
use detox_lab::io::disk::Folder;
use detox_lab::lab::models::Judge;
use detox_lab::pace::{NonStop, block_on};

fn main() -> Result<()> {
    let tiny = format!("{}/static/models/tiny/reward", env!("CARGO_MANIFEST_DIR"));
    let judge = Judge::load(&Folder::open(std::env::args().nth(1).unwrap_or(tiny))?)?;
    let texts =
        ["#Person1# tells Tommy that he didn't like the movie.", "#Person1# tells Tommy that he is a stupid idiot."];
    let scored = block_on(judge.score(&texts.map(String::from), true, &mut NonStop))?;
    for (text, scored) in texts.iter().zip(&scored) {
        println!("score {:6.3}, toxicity {:.3}: {text}", scored.score, scored.toxicity);
    }
    assert!(scored[1].toxicity > scored[0].toxicity, "an insult is more toxic");
    Ok(())
}
