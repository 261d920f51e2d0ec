//! Summarizes a dialogue with a T5 and its LoRA adapter, greedily: cargo run --example summarize [POLICY ADAPTER]
//! The arguments are folders in Hugging Face and PEFT layout; without them, the tiny models of this repository.
#![allow(clippy::print_stdout)]

use detox_lab::Result;
use detox_lab::io::adapter::PeftAdapter;
use detox_lab::io::disk::Folder;
use detox_lab::lab::models::Actor;
use detox_lab::lab::responses::responses;
use detox_lab::model::generate::Sampling;
use detox_lab::model::policy::POLICY;
use detox_lab::pace::{NonStop, block_on};
use detox_lab::text::prompt::prompt;

const DIALOGUE: &str = "#Person1#: Can I have a cake for sixty people by Saturday?\n#Person2#: Of course. Chocolate?\n\
                        #Person1#: Chocolate and nuts, please.";

fn main() -> Result<()> {
    let tiny = |name| format!("{}/static/models/tiny/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut folders = std::env::args().skip(1);
    let mut folder = |name| Folder::open(folders.next().unwrap_or_else(|| tiny(name)));

    let mut actor = Actor::load(&folder("policy")?, 0)?;
    actor.add_adapter(POLICY, &PeftAdapter::read(&folder("adapter")?)?, false)?;
    let query = actor.tokenizer()?.encode(&prompt(DIALOGUE))?;
    let greedy = Sampling { greedy: true, ..Sampling::default() };
    let generated = block_on(responses(&actor, Some(POLICY), &[query], 60, &greedy, 0, 0, &mut NonStop))?;
    println!("{}", actor.tokenizer()?.decode(&generated[0].ids, true)?);
    Ok(())
}
