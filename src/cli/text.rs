//! `summarize`, `score` and `logprobs`: one model, texts or ids in, numbers and texts out.

use super::args;
use super::inputs::{self, Ids, PairRow};
use super::memory::{Models, Prompts, Tokens};
use super::models;
use super::report;
use super::shipped;
use super::terminal::Terminal;
use crate::error::{Error, Result};
use crate::lab::events::{Choice, Listener};
use crate::lab::inspect::{Generated, Sampling, responses, token_numbers};
use crate::lab::models::{Actor, AdapterName, POLICY};
use crate::pace::{Pace, block_on};
use crate::text::prompt::prompt;
use crate::text::stream::TextStream;
use crate::text::tokenizer::Tokenizer;
use serde_json::json;

/// Loads a policy, with an adapter unless it is `off`.
pub fn policy(args: &args::PolicyArgs, terminal: &mut Terminal) -> Result<(Actor, AdapterName<'static>)> {
    let mut actor = models::actor(&args.policy, args.held.weights.unwrap_or_default(), 0, terminal)?;
    let adapter = args.adapter.as_deref().or(shipped::adapter(&args.policy)).unwrap_or("off");
    if adapter == "off" {
        return Ok((actor, None));
    }
    models::put_adapter(&mut actor, adapter, false, terminal)?;
    Ok((actor, Some(POLICY)))
}

fn will_fit(args: &args::PolicyArgs) -> Models<'_> {
    Models { policy: Some(&args.policy), reward: None, precision: args.held.weights.unwrap_or_default() }
}

/// Generates a summary for each line.
pub fn summarize(args: &args::Summarize) -> Result<()> {
    let queries = read(&args.input)?;
    let mut terminal = Terminal::new(args.json)?;
    if let (Queries::Texts(texts), Some(file), false) = (&queries, &args.input.text, args.raw)
        && inputs::are_turns(texts)
    {
        terminal.line(&format!(
            "note: the lines of {0} look like the turns of one dialogue, and each is summarized on its own; to summarize the \
             whole file: --dialogue {0}",
            file.display()
        ));
    }
    let (rows, prompts) = match &queries {
        Queries::Texts(texts) => {
            let whole = |text: &String| if args.raw { text.clone() } else { prompt(text) };
            (texts.len(), Prompts::Texts(texts.iter().map(|text| whole(text).into()).collect()))
        }
        Queries::Ids(rows) => (rows.len(), Prompts::Tokens(rows.iter().map(Vec::len).max().unwrap_or(0))),
    };
    let lower = "give shorter texts, or lower --batch-size or --max-new-tokens";
    let at_once = rows.min(args.batch_size);
    will_fit(&args.model).ask_generation(at_once, &prompts, args.max_new_tokens, lower, &mut terminal)?;
    let (actor, adapter) = policy(&args.model, &mut terminal)?;
    let ids = match (queries, &prompts) {
        (Queries::Ids(rows), _) => rows,
        (_, Prompts::Texts(texts)) => {
            let tokenizer = actor.tokenizer()?;
            texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<Vec<_>>>()?
        }
        _ => Vec::new(),
    };
    let sampling = Sampling {
        greedy: args.greedy,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_length: args.min_length,
    };
    // One row streams; several would interleave, so they come batch by batch.
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

enum Queries {
    Texts(Vec<String>),
    Ids(Vec<Vec<u32>>),
}

/// What a command is to work on.
fn read(input: &args::Input) -> Result<Queries> {
    match (&input.given, &input.text, &input.dialogue, &input.ids) {
        (Some(text), ..) if text.trim().is_empty() => Err(Error::input("the text is empty", "give some text")),
        (Some(text), ..) => Ok(Queries::Texts(vec![text.clone()])),
        (_, Some(file), ..) => inputs::lines(file).map(Queries::Texts),
        (_, _, Some(file), _) => inputs::whole(file).map(|text| Queries::Texts(vec![text])),
        (.., Some(file)) => {
            let rows: Vec<Ids> = inputs::json_lines(file, r#"{"ids":[…]}"#)?;
            Ok(Queries::Ids(rows.into_iter().map(|r| r.ids).collect()))
        }
        _ => Err(Error::input("no input", "give a text, --text FILE, --dialogue FILE or --ids FILE.jsonl")),
    }
}

/// Tokens of the longest query, or more.
fn longest(queries: &Queries) -> usize {
    match queries {
        Queries::Texts(texts) => texts.iter().map(|text| text.len() + 2).max(),
        Queries::Ids(rows) => rows.iter().map(Vec::len).max(),
    }
    .unwrap_or(0)
}

/// Asks whether the numbers of given rows fit in memory: first with a bound for texts, then with their tokens.
fn rows_fit(args: &args::PolicyArgs, rows: &[PairRow], terminal: &mut Terminal) -> Result<()> {
    let tokens = |tokenizer: Option<&Tokenizer>| -> Result<Tokens> {
        let count = |text: &String| tokenizer.map_or(Ok(text.len() + 2), |t| t.encode(text).map(|ids| ids.len()));
        let mut most = Tokens { prompt: 0, response: 0 };
        for row in rows {
            let (prompt, response) = match row {
                PairRow::Ids { query_ids, response_ids } => (query_ids.len(), response_ids.len() + 1),
                PairRow::Text { query, response } => (count(query)?, count(response)? + 1),
            };
            most = Tokens { prompt: most.prompt.max(prompt), response: most.response.max(response) };
        }
        Ok(most)
    };
    let wanted = will_fit(args);
    wanted.ask_given(tokens(None)?, terminal).or_else(|error| match models::policy_tokenizer(&args.policy, terminal)? {
        Some(tokenizer) => wanted.ask_given(tokens(Some(&tokenizer))?, terminal),
        None => Err(error),
    })
}

fn summary_json(generated: &Generated, text: Option<String>) -> serde_json::Value {
    json!({
        "response_ids": generated.ids,
        "text": text,
        "ended": generated.ended,
        "logprobs": generated.logprobs,
    })
}

/// Prints a row's text as its tokens come.
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

/// Scores each line.
pub fn score(args: &args::Score) -> Result<()> {
    let mut terminal = Terminal::new(args.json)?;
    let queries = read(&args.input)?;
    let precision = args.model.held.weights.unwrap_or_default();
    let wanted = Models { policy: None, reward: Some(&args.model.reward), precision };
    wanted.ask_scoring(longest(&queries), &mut terminal)?;
    let judge = models::judge(&args.model.reward, args.model.labels.reward_labels.as_ref(), precision, &mut terminal)?;
    let (texts, ids) = match queries {
        Queries::Ids(ids) => (None, ids),
        Queries::Texts(texts) => {
            let ids = texts.iter().map(|t| judge.encode(t)).collect::<Result<Vec<_>>>()?;
            (Some(texts), ids)
        }
    };
    let limit = judge.model.classifier().config().limit();
    let long: Vec<usize> = (0..ids.len()).filter(|row| ids[*row].len() > limit).collect();
    if let Some(first) = long.first() {
        let others = if long.len() > 1 { format!(" (and {} others)", long.len() - 1) } else { String::new() };
        let tokens = ids[*first].len();
        terminal.line(&format!(
            "note: text {}{others} was cut: it has {tokens} tokens, and the reward model reads the first {limit}",
            first + 1
        ));
    }
    let scored = block_on(judge.score_ids(&ids, true, &mut terminal))?;
    if args.json {
        return report::json(&json!({ "rows": scored }));
    }
    report::line("  nothate logit   hate logit   P(nothate)      P(hate)        score  text")?;
    for (i, s) in scored.iter().enumerate() {
        let text = texts.as_ref().map_or_else(|| format!("row {}", i + 1), |t| t[i].clone());
        let (l, p) = (s.logits, s.probabilities);
        report::line(format!(
            "{:>15.6} {:>12.6} {:>12.6} {:>12.6} {:>12.6}  {text}",
            l.nothate, l.hate, p.nothate, p.hate, s.score
        ))?;
    }
    Ok(())
}

/// Per-token numbers of given rows.
pub fn logprobs(args: &args::Logprobs) -> Result<()> {
    let form = r#"{"query_ids":[…],"response_ids":[…]} or {"query":"…","response":"…"}"#;
    let rows: Vec<PairRow> = inputs::json_lines(&args.rows, form)?;
    let mut terminal = Terminal::new(args.json)?;
    rows_fit(&args.model, &rows, &mut terminal)?;
    let (mut actor, adapter) = policy(&args.model, &mut terminal)?;
    if let Some(file) = &args.value_head {
        models::put_value_head(&mut actor, file)?;
    }
    let mut out = Vec::new();
    for (i, row) in rows.into_iter().enumerate() {
        block_on(terminal.pause())?;
        let (query, response) = pair_ids(&actor, row)?;
        let n = token_numbers(&actor, adapter, &query, &response)
            .map_err(|e| Error::file(inputs::place(&args.rows, i), e, "correct the row"))?;
        let mut numbers = json!({"response_ids": n.response_ids, "logprobs": n.logprobs, "entropy": n.entropy});
        if args.value_head.is_some() {
            numbers["values"] = json!(n.values);
        }
        out.push(numbers);
    }
    if args.json {
        return report::json(&json!({ "rows": out }));
    }
    for (i, row) in out.iter().enumerate() {
        report::line(format!("row {}", i + 1))?;
        report::line("      id      log-prob       entropy         value  token")?;
        for (k, id) in row["response_ids"].as_array().into_iter().flatten().enumerate() {
            let number = |name: &str| row[name][k].as_f64().map_or("–".into(), |x| format!("{x:.6}"));
            let id = id.as_u64().unwrap_or_default() as u32;
            let text = actor.tokenizer.as_ref().and_then(|t| t.pieces(&[id]).pop()).map_or(String::new(), |p| p.text);
            report::line(format!(
                "{id:>8} {:>13} {:>13} {:>13}  {text}",
                number("logprobs"),
                number("entropy"),
                number("values")
            ))?;
        }
    }
    Ok(())
}

fn pair_ids(actor: &Actor, row: PairRow) -> Result<(Vec<u32>, Vec<u32>)> {
    Ok(match row {
        PairRow::Ids { query_ids, response_ids } => (query_ids, response_ids),
        PairRow::Text { query, response } => {
            let tokenizer = actor.tokenizer()?;
            (tokenizer.encode(&query)?, tokenizer.encode(&response)?)
        }
    })
}
