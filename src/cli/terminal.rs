//! Shows a command's progress: bars on a terminal, plain lines otherwise, and one line for each PPO step. Stops the command
//! after a signal.

use super::{report, signals};
use crate::error::{Error, Result};
use crate::io::hub;
use crate::lab::events::{Event, Observer, Phase, Seconds, StepObserver, StepStage, StepStats};
use crate::lab::train::Peers;
use crate::pace::Pace;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time between progress lines without a terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(15);

/// The observer of a command's work.
pub struct Terminal {
    started: Instant,
    /// None without a terminal.
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    /// Total number of PPO steps.
    steps: u64,
    shown_header: bool,
    quiet: bool,
    /// Another rank than the first: prints nothing.
    silent: bool,
    json_steps: bool,
    phase_started: Instant,
    last_line: Instant,
    /// The first update of this process that was reported, and when.
    first_update: Option<(u64, Instant)>,
    /// File, bytes so far, bytes in all.
    download: (String, u64, u64),
}

impl Terminal {
    /// `quiet`: no step lines (a command that prints JSON).
    pub fn new(quiet: bool) -> Result<Self> {
        signals::catch()?;
        let bar = std::io::stderr().is_terminal().then(ProgressBar::hidden);
        Ok(Self {
            started: Instant::now(),
            bar,
            phase: None,
            steps: 0,
            shown_header: false,
            quiet,
            silent: false,
            json_steps: false,
            phase_started: Instant::now(),
            last_line: Instant::now(),
            first_update: None,
            download: (String::new(), 0, 0),
        })
    }

    /// As [`Terminal::new`], for one of the ranks of a run: only the first prints.
    pub fn among(peers: &Peers, quiet: bool) -> Result<Self> {
        let terminal = Self::new(quiet)?;
        let silent = !peers.is_first();
        Ok(Self { silent, bar: terminal.bar.filter(|_| !silent), ..terminal })
    }

    /// Sets the total number of steps.
    pub fn steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// Columns of the terminal; 100 without one.
    pub fn width(&self) -> usize {
        let (_, columns) = console::Term::stdout().size();
        if std::io::stdout().is_terminal() { columns.into() } else { 100 }
    }

    /// Prints a line above the bar, on standard error.
    pub fn line(&self, text: &str) {
        match &self.bar {
            _ if self.silent => {}
            Some(bar) if !bar.is_hidden() => bar.println(text),
            _ => say(text),
        }
    }

    fn progress(&mut self, phase: Phase, done: usize, of: usize) {
        let what = match phase {
            Phase::Generate => "generating, rows",
            Phase::Score => "scoring, texts",
            Phase::Old | Phase::Reference | Phase::Train => "PPO, mini-batches",
            Phase::Load => "loading",
            Phase::Evaluate => "evaluated, dialogues",
        };
        self.show(Some(phase), what, "{msg:20}  {wide_bar} {pos}/{len}  {per_sec}  {eta} left", done as u64, of as u64);
    }

    fn show(&mut self, phase: Option<Phase>, what: &str, style: &str, done: u64, of: u64) {
        if phase != self.phase {
            self.phase_started = Instant::now();
        }
        let Some(bar) = &mut self.bar else {
            self.phase = phase;
            return self.plain(what, done, of);
        };
        if self.phase != phase || bar.is_finished() || bar.is_hidden() {
            bar.finish_and_clear();
            *bar = ProgressBar::new(of);
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_message(what.to_string());
            self.phase = phase;
        }
        bar.set_length(of);
        bar.set_position(done);
        if done >= of {
            bar.finish_and_clear();
        }
    }

    /// Without a terminal: prints a line every [`PLAIN_EVERY`].
    fn plain(&mut self, what: &str, done: u64, of: u64) {
        if self.quiet || self.last_line.elapsed() < PLAIN_EVERY || done == 0 {
            return;
        }
        self.last_line = Instant::now();
        let rate = done as f64 / self.phase_started.elapsed().as_secs_f64().max(1e-3);
        let left = of.saturating_sub(done) as f64 / rate;
        self.line(&format!("{what}: {done}/{of}, {rate:.2}/s, {left:.0} s left"));
    }

    /// Prints steps as JSON lines on standard output.
    pub fn step_json(&mut self) {
        self.json_steps = true;
    }

    fn step_line(&mut self, step: u64, stats: &StepStats, seconds: Seconds) {
        if self.json_steps && !self.silent {
            let mut line = serde_json::json!(stats.line);
            line["seconds"] = serde_json::json!(seconds);
            // Training continues if the pipe is closed.
            let _ = report::line(line);
            return;
        }
        if !self.shown_header {
            self.line("  step   objective/kl   returns/mean   advantages_mean   mean score   kl_coef   seconds (generate + score + ppo)");
            self.shown_header = true;
        }
        self.line(&format!(
            "{:>6} {:>14.4} {:>14.4} {:>17.2e} {:>12.4} {:>9.5}   {:.1} ({:.1} + {:.1} + {:.1})",
            format!("{step}/{}", self.steps),
            unsigned_zero(stats.line.kl),
            unsigned_zero(stats.line.returns_mean),
            stats.line.advantages_mean,
            stats.line.score,
            stats.line.kl_coef,
            seconds.total,
            seconds.generate,
            seconds.score,
            seconds.ppo,
        ));
    }
}

impl Terminal {
    /// Prints what a supervised run measured: `step/of  loss 3.21  learning_rate 0.001 …`.
    fn update_line(&mut self, step: u64, of: u64, metrics: &[(String, f64)]) {
        let (first, then) = *self.first_update.get_or_insert((step, Instant::now()));
        let rate = then.elapsed().as_secs_f64() / (step - first).max(1) as f64;
        let left = if step > first { format!("  ({:.0} s left)", rate * (of - step) as f64) } else { String::new() };
        let number = |(name, value): &(String, f64)| {
            let short = name.rsplit('/').next().unwrap_or(name);
            if value.abs() < 0.01 { format!("  {short} {value:.2e}") } else { format!("  {short} {value:.4}") }
        };
        self.line(&format!("{:>12}{}{left}", format!("{step}/{of}"), metrics.iter().map(number).collect::<String>()));
    }
}

/// Downloads.
impl hub::Progress for Terminal {
    fn start(&mut self, file: &str, done: u64, bytes: u64) -> Result<()> {
        let (size, again) = (bytes as f64 / 1e6, self.download.0 == file);
        match done {
            _ if again && done > 0 => {
                self.line(&format!("continuing {file} at {:.1} of {size:.1} MB", done as f64 / 1e6))
            }
            0 => self.line(&format!("downloading {file}, {size:.1} MB")),
            _ => self
                .line(&format!("downloading {file}, {size:.1} MB, of which {:.1} are already here", done as f64 / 1e6)),
        }
        self.download = (file.to_string(), done, bytes);
        if signals::stop() { Err(Error::Stopped) } else { Ok(()) }
    }

    fn advance(&mut self, bytes: u64) -> Result<()> {
        self.download.1 += bytes;
        let (file, done, of) = self.download.clone();
        let style = "{msg}  {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
        self.show(None, &file, style, done, of);
        if signals::stop() { Err(Error::Stopped) } else { Ok(()) }
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints a line on standard error. Work continues if it is closed.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Avoids -0.0000 when four decimals are printed.
fn unsigned_zero(x: f64) -> f64 {
    if x.abs() < 5e-5 { 0.0 } else { x }
}

impl Pace for Terminal {
    async fn pause(&mut self) -> Result<()> {
        if signals::stop() { Err(Error::Stopped) } else { Ok(()) }
    }
}

impl StepObserver for Terminal {
    fn stage(&mut self, stage: &StepStage<'_>) {
        if let StepStage::Progress { phase, done, of } = stage {
            let at = match phase {
                Phase::Old => 0,
                Phase::Reference => *of,
                _ => 2 * of,
            };
            self.progress(Phase::Train, at + done, 3 * of);
        }
    }
}

impl Observer for Terminal {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Progress { phase, done, of } => self.progress(phase, done, of),
            Event::Step { step, stats, seconds } => self.step_line(step, stats, seconds),
            Event::Update { step, of, metrics } => self.update_line(step, of, metrics),
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            Event::Token(_) | Event::Queries(..) | Event::Responses(_) | Event::Scores(_) => {}
        }
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn unix_seconds(&self) -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
    }
}
