//! `summarize`: prints summaries of dialogues while they are generated.

use crate::cli::args::{MOST, PolicyArgs, TextInput, up_to};
use crate::cli::inputs::{self, Queries};
use crate::cli::terminal::Terminal;
use crate::cli::{loading, memory, report, sources};
use crate::error::{Error, Result};
use crate::lab::events::{Choice, Listener};
use crate::lab::responses::{Generated, Sampling, responses};
use crate::lab::sources::forecast::{self, Tokens};
use crate::pace::{Pace, block_on};
use crate::settings::does;
use crate::text::prompt::prompt;
use crate::text::stream::TextStream;
use clap::Args;
use serde_json::json;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub model: PolicyArgs,
    #[command(flatten)]
    pub input: TextInput,
    /// Use the texts as prompts, without adding the lab's instruction
    #[arg(long)]
    pub raw: bool,
    /// Always take the most likely token instead of sampling
    #[arg(long)]
    pub greedy: bool,
    /// Seed for sampling; the same seed gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    #[arg(long, help = does("temperature"), value_name = "T", default_value_t = 1.0)]
    pub temperature: f32,
    #[arg(long, help = does("top_k"), value_name = "K", default_value_t = 0)]
    pub top_k: usize,
    #[arg(long, help = does("top_p"), value_name = "P", default_value_t = 1.0)]
    pub top_p: f32,
    /// Maximum number of new tokens per summary
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = up_to::<MOST>)]
    pub max_new_tokens: usize,
    #[arg(long, help = does("min_length"), value_name = "N", default_value_t = 0)]
    pub min_length: usize,
    /// Rows to generate together
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = up_to::<MOST>)]
    pub batch_size: usize,
    /// Print JSON: {"rows":[{"response_ids":[…],"text":"…"}]}
    #[arg(long)]
    pub json: bool,
}

/// Generates a summary for each text.
pub fn run(args: &Arguments) -> Result<()> {
    let queries = inputs::queries(&args.input)?;
    let mut terminal = Terminal::new(args.json)?;
    if let (Queries::Texts(texts), Some(file), false) = (&queries, &args.input.text, args.raw)
        && inputs::are_turns(texts)
    {
        terminal.line(&format!(
            "note: the lines of {0} look like the turns of one dialogue, but each line is summarized separately; to summarize \
                         the whole file, use --dialogue {0}",
            file.display()
        ));
    }
    let precision = args.model.held.weights.unwrap_or_default();
    loading::use_precision(args.model.held.precision.unwrap_or_default(), &terminal);
    let mut policy = sources::policy(&args.model.policy, &mut terminal)?;
    let ids = match queries {
        Queries::Ids(rows) => rows,
        Queries::Texts(texts) => {
            let tokenizer = policy.tokenizer()?;
            let whole = |text: String| if args.raw { text } else { prompt(&text) };
            texts.into_iter().map(|text| tokenizer.encode(&whole(text))).collect::<Result<Vec<_>>>()?
        }
    };
    let tokens = Tokens { prompt: ids.iter().map(Vec::len).max().unwrap_or(0), response: args.max_new_tokens };
    let needed = forecast::generation(&policy, None, ids.len().min(args.batch_size), tokens, precision);
    memory::check(&needed, precision, "give shorter texts, or lower --batch-size or --max-new-tokens")?;
    let (actor, adapter) = loading::load_policy(policy, &args.model, &mut terminal)?;
    let sampling = Sampling {
        greedy: args.greedy,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_length: args.min_length,
    };
    // Only a single row is streamed; several are printed batch by batch.
    let streaming = !args.json && ids.len() == 1 && actor.tokenizer.is_some();
    let mut rows = Vec::new();
    for (batch, chunk) in ids.chunks(args.batch_size.max(1)).enumerate() {
        let stream = actor.tokenizer.as_ref().filter(|_| streaming).map(|t| t.stream(true));
        let mut listener = Streaming { terminal: &mut terminal, stream, failed: None };
        let first = (batch * args.batch_size.max(1)) as u64;
        let work = responses(&actor, adapter, chunk, args.max_new_tokens, &sampling, args.seed, first, &mut listener);
        let out = block_on(work)?;
        listener.finish()?;
        for generated in out {
            let text = actor.tokenizer.as_ref().map(|t| t.decode(&generated.ids, true)).transpose()?;
            if !args.json && !streaming {
                report::line(text.clone().unwrap_or_else(|| format!("{:?}", generated.ids)))?;
            }
            rows.push(summary_json(&generated, text));
        }
    }
    if args.json { report::json(&json!({ "rows": rows })) } else { Ok(()) }
}

fn summary_json(generated: &Generated, text: Option<String>) -> serde_json::Value {
    json!({
        "response_ids": generated.ids,
        "text": text,
        "ended": generated.ended,
        "logprobs": generated.logprobs,
    })
}

/// Prints a row's text while its tokens are generated.
struct Streaming<'a> {
    terminal: &'a mut Terminal,
    stream: Option<TextStream<'a>>,
    failed: Option<Error>,
}

impl Streaming<'_> {
    fn finish(mut self) -> Result<()> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        match self.stream.take() {
            Some(stream) => report::line(stream.finish()?),
            None => Ok(()),
        }
    }
}

impl Pace for Streaming<'_> {
    async fn pause(&mut self) -> Result<()> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.terminal.pause().await,
        }
    }
}

impl Listener for Streaming<'_> {
    fn token(&mut self, choice: Choice<'_>) {
        if let Some(stream) = &mut self.stream {
            let shown = stream.push(choice.id).and_then(|text| report::stream(&text));
            self.failed = shown.err();
        }
    }
}
