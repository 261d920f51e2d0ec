//! `doctor`: looks at the machine, the hub's cache, models and a run's folder, and says of each what is well, what is wrong
//! and what to do. It changes nothing. Models are `doctor::models`'s, a run's folder `doctor::run`'s.

mod models;
mod run;

use super::args::LabelArgs;
use super::device;
use super::machine;
use super::memory::size;
use super::moved::Moved;
use super::report;
use crate::error::{Error, Result};
use crate::io::disk;
use crate::io::hub::Hub;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Arguments {
    /// A run's folder to look through
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// A policy to read whole; nothing is fetched
    #[arg(long, value_name = "SRC")]
    pub policy: Option<String>,
    /// A LoRA adapter to read whole
    #[arg(long, value_name = "SRC")]
    pub adapter: Option<String>,
    /// A reward model to read whole
    #[arg(long, value_name = "SRC")]
    pub reward: Option<String>,
    #[command(flatten)]
    pub labels: LabelArgs,
    /// Print JSON: {"ok":…,"findings":[{"about":…,"state":"ok|note|wrong","what":…,"do":…}]}
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// Worth knowing; nothing is broken.
    Note,
    Wrong,
}

#[derive(Debug, Serialize)]
struct Finding {
    about: String,
    state: State,
    what: String,
    /// What to do about it.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// What was found, in the order of looking.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, state: State, about: &str, what: impl ToString, remedy: Option<String>) {
        self.0.push(Finding { about: about.into(), state, what: what.to_string(), remedy });
    }

    fn ok(&mut self, about: &str, what: impl ToString) {
        self.add(State::Ok, about, what, None);
    }

    fn note(&mut self, about: &str, what: impl ToString, remedy: impl Into<String>) {
        self.add(State::Note, about, what, Some(remedy.into()));
    }

    fn wrong(&mut self, about: &str, what: impl ToString, remedy: impl Into<String>) {
        self.add(State::Wrong, about, what, Some(remedy.into()));
    }

    /// An error of the crate's as a finding: its sentence, and what it says to try.
    fn error(&mut self, about: &str, error: &Error) {
        let text = error.to_string();
        let (what, hint) = text.split_once("\n  try: ").unwrap_or((&text, "look at the message"));
        self.wrong(about, what, hint);
    }

    /// What of a check went well is handed on; what failed becomes a finding.
    fn take<T>(&mut self, about: &str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.error(about, &error)).ok()
    }

    fn count(&self, state: State) -> usize {
        self.0.iter().filter(|finding| finding.state == state).count()
    }
}

/// Looks at everything asked about.
///
/// # Errors
/// Something is wrong; the findings are printed before.
pub fn doctor(args: &Arguments) -> Result<()> {
    let mut found = Findings::default();
    about_machine(&mut found);
    about_disk(args.run.as_deref().unwrap_or(Path::new(".")), &mut found);
    about_cache(&mut found);
    for (part, src) in [
        (models::Kind::Policy, &args.policy),
        (models::Kind::Adapter, &args.adapter),
        (models::Kind::Reward, &args.reward),
    ] {
        if let Some(src) = src {
            models::look(part, src, args.labels.reward_labels.as_ref(), &mut found);
        }
    }
    if let Some(path) = &args.run {
        let now = Moved {
            policy: args.policy.as_deref(),
            reward: args.reward.as_deref(),
            labels: args.labels.reward_labels.as_ref(),
            ..Moved::default()
        };
        run::look(path, now, &mut found);
    }
    let wrong = found.count(State::Wrong);
    if args.json {
        report::json(&serde_json::json!({ "ok": wrong == 0, "findings": found.0 }))?;
    } else {
        print(&found)?;
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Error::input("one thing is wrong", "what is written under it")),
        n => Err(Error::input(format!("{n} things are wrong"), "what is written under each of them")),
    }
}

fn print(found: &Findings) -> Result<()> {
    for finding in &found.0 {
        let word = match finding.state {
            State::Ok => "ok",
            State::Note => "note",
            State::Wrong => "WRONG",
        };
        report::line(format!("{word:<6}{:<10}{}", finding.about, finding.what))?;
        if let Some(remedy) = &finding.remedy {
            report::line(format!("{:<16}→ {remedy}", ""))?;
        }
    }
    Ok(())
}

/// Least memory that a run of flan-t5-small's size needs.
const LITTLE: u64 = 2_000_000_000;

fn about_machine(found: &mut Findings) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = machine::processor().unwrap_or_else(|| "a processor that the system does not name".into());
    match machine::simd() {
        Some(simd) if simd.contains(&"avx2") || simd.contains(&"asimd") => {
            found.ok("machine", format!("{cores} cores of {name}; SIMD: {}", simd.join(" ")));
        }
        Some(simd) => {
            let what = format!(
                "{cores} cores of {name}; SIMD: {}",
                if simd.is_empty() { "none".into() } else { simd.join(" ") }
            );
            found.note("machine", what, "without AVX2 everything works, several times slower");
        }
        None => found.ok("machine", format!("{cores} cores of {name}")),
    }
    match device::libraries()[..] {
        [] => found.ok("machine", "computes on the CPU with kernels of its own"),
        ref with => {
            found.ok("machine", format!("computes on the CPU with kernels of its own; candle has {}", with.join(", ")))
        }
    }
    match machine::memory() {
        None => {
            found.note("memory", "this system does not say how much there is", "no forecast is made before loading")
        }
        Some(memory) if memory.free < LITTLE => {
            let what = format!("{} of {} free", size(memory.free), size(memory.total));
            found.note(
                "memory",
                what,
                "flan-t5-base's training needs several GB: close programs, or use --weights q8_0",
            );
        }
        Some(memory) => found.ok("memory", format!("{} of {} free", size(memory.free), size(memory.total))),
    }
}

/// Room that a few checkpoints of flan-t5-base's adapter take.
const ROOM: u64 = 500_000_000;

/// The disk where runs go.
fn about_disk(path: &Path, found: &mut Findings) {
    let Some(folder) = path.ancestors().chain([Path::new(".")]).find(|p| p.is_dir()) else { return };
    let shown = folder.display();
    match disk::check_writable(folder) {
        Ok(()) => found.ok("disk", format!("{shown} can be written")),
        Err(error) => found.error("disk", &error),
    }
    match fs4::available_space(folder) {
        Ok(free) if free < ROOM => {
            let what = format!("{shown}: {} free", size(free));
            found.wrong(
                "disk",
                what,
                "free some: a run of flan-t5-base writes about 50 MB a checkpoint, and a few MB a step",
            );
        }
        Ok(free) => found.ok("disk", format!("{shown}: {} free", size(free))),
        Err(error) => found.wrong("disk", format!("{shown}: {error}"), "check that the disk is there"),
    }
}

fn about_cache(found: &mut Findings) {
    let Some(hub) = found.take("hub cache", Hub::from_env()) else { return };
    let shown = hub.cache.display();
    if !hub.cache.is_dir() {
        return found.ok("hub cache", format!("{shown} is not there yet; the first fetch makes it"));
    }
    let (mut models, mut partial) = (0, Vec::new());
    for repo in folders(&hub.cache) {
        models += usize::from(repo.join("snapshots").is_dir());
        let blobs = std::fs::read_dir(repo.join("blobs")).into_iter().flatten().flatten().map(|entry| entry.path());
        partial.extend(
            blobs.filter(|path| {
                path.extension().is_some_and(|end| end == "part" || end == "incomplete" || end == "lock")
            }),
        );
    }
    let offline = if hub.offline { "; HF_HUB_OFFLINE is set: nothing is fetched" } else { "" };
    found.ok("hub cache", format!("{shown}: {models} repositories{offline}"));
    if let Some(first) = partial.first() {
        let what = format!("{} unfinished transfers, such as {}", partial.len(), first.display());
        found.note("hub cache", what, "where no fetch is going on, remove them; the next fetch begins anew or goes on");
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
