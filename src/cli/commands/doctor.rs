//! `doctor`: checks the machine, the hub's cache, models and a run's folder, and prints what is wrong and what to do. It
//! changes nothing. Models are checked in `models`, a run's folder in `run`.

mod findings;
mod models;
mod run;

use self::findings::{Findings, Severity};
use crate::cli::args::LabelArgs;
use crate::cli::hardware;
use crate::cli::memory::size;
use crate::cli::report;
use crate::cli::run_sources::NewLocations;
use crate::cli::sources::Role;
use crate::error::{Error, Result};
use crate::io::disk;
use crate::io::hub::Hub;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub struct Arguments {
    /// A run's folder to check
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// A policy to read completely; nothing is downloaded
    #[arg(long, value_name = "SRC")]
    pub policy: Option<String>,
    /// A LoRA adapter to read completely
    #[arg(long, value_name = "SRC")]
    pub adapter: Option<String>,
    /// A reward model to read completely
    #[arg(long, value_name = "SRC")]
    pub reward: Option<String>,
    #[command(flatten)]
    pub labels: LabelArgs,
    /// Print JSON: {"ok":…,"findings":[{"about":…,"state":"ok|note|wrong","what":…,"do":…}]}
    #[arg(long)]
    pub json: bool,
}

/// Checks everything that the arguments name.
///
/// # Errors
/// Something is wrong; the findings have been printed.
pub fn run(args: &Arguments) -> Result<()> {
    let mut found = Findings::default();
    about_machine(&mut found);
    about_disk(args.run.as_deref().unwrap_or(Path::new(".")), &mut found);
    about_cache(&mut found);
    for (role, src) in [(Role::Policy, &args.policy), (Role::Adapter, &args.adapter), (Role::Reward, &args.reward)] {
        if let Some(src) = src {
            models::look(role, src, args.labels.reward_labels.as_ref(), &mut found);
        }
    }
    if let Some(path) = &args.run {
        let now = NewLocations {
            policy: args.policy.as_deref(),
            reward: args.reward.as_deref(),
            labels: args.labels.reward_labels.as_ref(),
            ..NewLocations::default()
        };
        run::look(path, now, &mut found);
    }
    let wrong = found.count(Severity::Wrong);
    if args.json {
        report::json(&serde_json::json!({ "ok": wrong == 0, "findings": found.all() }))?;
    } else {
        print(&found)?;
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Error::input("1 problem found", "follow the suggestion below it")),
        n => Err(Error::input(format!("{n} problems found"), "follow the suggestion below each of them")),
    }
}

fn print(found: &Findings) -> Result<()> {
    for finding in found.all() {
        let word = match finding.state {
            Severity::Ok => "ok",
            Severity::Note => "note",
            Severity::Wrong => "WRONG",
        };
        report::line(format!("{word:<6}{:<10}{}", finding.about, finding.what))?;
        if let Some(remedy) = &finding.remedy {
            report::line(format!("{:<16}→ {remedy}", ""))?;
        }
    }
    Ok(())
}

/// Memory that a run of flan-t5-small's size needs at least.
const LITTLE: u64 = 2_000_000_000;

fn about_machine(found: &mut Findings) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = hardware::processor().unwrap_or_else(|| "an unknown processor".into());
    match hardware::simd() {
        Some(simd) if simd.contains(&"avx2") || simd.contains(&"asimd") => {
            found.ok("machine", format!("{cores} cores of {name}; SIMD: {}", simd.join(" ")));
        }
        Some(simd) => {
            let what = format!(
                "{cores} cores of {name}; SIMD: {}",
                if simd.is_empty() { "none".into() } else { simd.join(" ") }
            );
            found.note("machine", what, "without AVX2 everything works, but several times more slowly");
        }
        None => found.ok("machine", format!("{cores} cores of {name}")),
    }
    found.ok("machine", "detox-lab computes on the CPU");
    match hardware::memory() {
        None => found.note("memory", "the size of the memory is unknown", "memory is not checked before loading"),
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

/// Bytes that a few checkpoints of flan-t5-base's adapter take.
const FEW_CHECKPOINTS: u64 = 500_000_000;

/// The disk that runs are written to.
fn about_disk(path: &Path, found: &mut Findings) {
    let Some(folder) = path.ancestors().chain([Path::new(".")]).find(|p| p.is_dir()) else { return };
    let shown = folder.display();
    match disk::check_writable(folder) {
        Ok(()) => found.ok("disk", format!("{shown} can be written")),
        Err(error) => found.error("disk", &error),
    }
    match fs4::available_space(folder) {
        Ok(free) if free < FEW_CHECKPOINTS => {
            let what = format!("{shown}: {} free", size(free));
            found.wrong(
                "disk",
                what,
                "free some space: a run of flan-t5-base writes about 50 MB per checkpoint and a few MB per step",
            );
        }
        Ok(free) => found.ok("disk", format!("{shown}: {} free", size(free))),
        Err(error) => found.wrong("disk", format!("{shown}: {error}"), "check that the disk is connected"),
    }
}

fn about_cache(found: &mut Findings) {
    let Some(hub) = found.take("hub cache", Hub::from_env()) else { return };
    let shown = hub.cache.display();
    if !hub.cache.is_dir() {
        return found.ok("hub cache", format!("{shown} does not exist yet; the first download creates it"));
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
    let offline = if hub.offline { "; HF_HUB_OFFLINE is set: nothing is downloaded" } else { "" };
    found.ok("hub cache", format!("{shown}: {models} repositories{offline}"));
    if let Some(first) = partial.first() {
        let what = format!("{} unfinished downloads, such as {}", partial.len(), first.display());
        found.note(
            "hub cache",
            what,
            "if no other process is downloading, remove them; the next download continues or starts again",
        );
    }
}

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
