//! Runs that are killed with SIGKILL at random moments, many in the middle of a write, and resumed: they end like uninterrupted
//! runs, byte for byte. `failing_disk.rs` tests failing disks.

use crate::support;
use crate::support::run::*;
use detox_lab::nn::rng::{Purpose, Rng};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Steps of a run that is killed; few checkpoints and rollouts are kept, so that removing them is interrupted too.
const STEPS: &str = "12";
const KEPT: [&str; 6] = ["--save-every", "3", "--keep", "2", "--keep-rollouts", "5"];

/// A new seed each time; a failure is repeated with the one that it printed.
fn seed() -> u64 {
    let given = std::env::var("KILL_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000
    });
    eprintln!("moments of this test: KILL_SEED={seed}");
    seed
}

/// When a process is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// This long after its start.
    After(Duration),
    /// This long after an unfinished file or folder exists for the n-th time.
    Writing(u64, Duration),
    /// This long after the n-th change of a growing file: between the writes of one step.
    Growing(u64, Duration),
}

impl Moment {
    fn draw(rng: &mut Rng, longest: Duration) -> Self {
        let micros = |rng: &mut Rng, most: u64| Duration::from_micros(rng.below(0, most));
        match rng.below(0, 3) {
            0 => Self::After(micros(rng, longest.as_micros() as u64)),
            1 => Self::Writing(rng.below(1, 12), micros(rng, 2_000)),
            _ => Self::Growing(rng.below(1, 10), micros(rng, 4_000)),
        }
    }

    /// Waits for it; false if the process ended first.
    fn wait(self, child: &mut Child, run: &Path) -> bool {
        let began = Instant::now();
        let (mut seen, mut last) = (0, self.look(run));
        loop {
            let (due, then) = match self {
                Self::After(time) => (began.elapsed() >= time, Duration::ZERO),
                Self::Writing(n, then) | Self::Growing(n, then) => (seen >= n, then),
            };
            if due {
                std::thread::sleep(then);
                return child.try_wait().unwrap().is_none();
            }
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            let now = self.look(run);
            if now != last {
                seen += u64::from(!matches!(self, Self::Writing(..)) || now.len() > last.len());
                last = now;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// The observed state, as text.
    fn look(self, run: &Path) -> String {
        match self {
            Self::After(_) => String::new(),
            Self::Writing(..) => unfinished(run).concat(),
            Self::Growing(..) => {
                let growing = ["samples.jsonl", "metrics.jsonl", "timings.jsonl"];
                growing.map(|name| run.join(name).metadata().map_or(0, |m| m.len()).to_string() + " ").concat()
            }
        }
    }
}

/// Names of files and folders that are being written or replaced.
fn unfinished(run: &Path) -> Vec<String> {
    let folders = [run.to_path_buf(), run.join("checkpoints"), run.join("rollouts")];
    let entries = folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let names = entries.filter_map(|e| e.file_name().into_string().ok());
    names.filter(|name| name.starts_with(".tmp-") || name.starts_with(".old-")).collect()
}

/// What a test's kills interrupted.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// There was an unfinished file or folder.
    writing: usize,
    /// A step was partly written: its lines, but no checkpoint.
    ahead: usize,
}

/// Runs `first`, kills it at moments from `rng`, continues with `resume`, until it has been killed `most` times or ends
/// normally; then it may end.
fn kill_and_resume(
    first: &[&str],
    resume: &[&str],
    run: &Path,
    most: usize,
    rng: &mut Rng,
    longest: Duration,
    tally: &mut Tally,
) {
    let before = tally.kills;
    loop {
        let begun = checkpoints(run).next().is_some();
        let mut child =
            program(if begun { resume } else { first }).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let moment = Moment::draw(rng, longest);
        let killed = tally.kills - before < most && moment.wait(&mut child, run);
        if killed {
            child.kill().unwrap();
        }
        let out = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        if out.status.code().is_some() {
            // It ended, possibly because the kill came after its last checkpoint.
            assert!(out.status.success() || said.contains("are done"), "{moment:?}: {said}");
            assert!(unfinished(run).is_empty(), "{:?}", unfinished(run));
            return;
        }
        // The kill may also have interrupted it while it reported that all is done.
        let fault = said.contains("error:") && !said.contains("are done") || said.contains("panicked");
        assert!(!fault, "{moment:?}: {said}");
        tally.kills += 1;
        tally.writing += usize::from(!unfinished(run).is_empty());
        let newest = checkpoints(run).map(|path| check(&path)).max();
        let told = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
        tally.ahead += usize::from(told.matches("\"step\":").count() as u64 > newest.unwrap_or(0));
    }
}

fn checkpoints(run: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = run.join("checkpoints").read_dir().ok().into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
}

/// Checks that every file of a checkpoint can be read. Returns its step.
fn check(checkpoint: &Path) -> u64 {
    let files: Vec<_> = checkpoint.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.len() == 3 || files.len() == 5, "{files:?}"); // of a supervised run, of a PPO run
    for file in files {
        match file.extension().unwrap().to_str().unwrap() {
            "safetensors" => drop(support::models::tensors(&file)),
            _ => drop(serde_json::from_slice::<serde_json::Value>(&std::fs::read(&file).unwrap()).unwrap()),
        }
    }
    checkpoint.file_name().unwrap().to_str().unwrap().trim_start_matches("step-").parse().unwrap()
}

#[test]
fn a_run_killed_fifty_times_anywhere_equals_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let (twin, config, models) = (dir.path().join("twin"), file(dir.path(), "c.json", QUICK), models());
    let began = Instant::now();
    ok(&[&train_args(&models, text(&config), STEPS, text(&twin))[..], &KEPT].concat());
    let longest = began.elapsed() / 2; // moments from a process's start to some steps later
    assert_steps(&twin, 12);
    let mut rng = Rng::new(seed(), Purpose::Shuffle, 0, 0);
    let mut tally = Tally::default();
    for victim in 0.. {
        let run = dir.path().join(format!("victim-{victim}"));
        let first = [&train_args(&models, text(&config), STEPS, text(&run))[..], &KEPT].concat();
        let resume = ["train", "--resume", text(&run)];
        kill_and_resume(&first, &resume, &run, 25, &mut rng, longest, &mut tally);
        assert_same(&run, &twin);
        assert_steps(&run, 12);
        if tally.kills >= 50 {
            break;
        }
    }
    eprintln!("{tally:?}");
    assert!(tally.writing > 0 && tally.ahead > 0, "no kill interrupted a write: {tally:?}");

    // Evaluation and table are complete, or unchanged.
    let outputs = || -> BTreeMap<&str, Option<Vec<u8>>> {
        let files = ["evaluation.json", "comparison.csv", "comparison.html"];
        files.map(|name| (name, std::fs::read(twin.join(name)).ok())).into()
    };
    let few = ["--run", text(&twin), "-n", "8", "--max-new-tokens", "12"];
    let (evaluate, compare) = ([&["evaluate"], &few[..]].concat(), [&["compare"], &few[..]].concat());
    let began = Instant::now();
    ok(&evaluate);
    let longest = began.elapsed();
    ok(&compare);
    let whole = outputs();
    assert!(whole.values().all(Option::is_some));
    for name in whole.keys() {
        std::fs::remove_file(twin.join(name)).unwrap();
    }
    for _ in 0..4 {
        for command in [&evaluate, &compare] {
            let mut child = program(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            Moment::draw(&mut rng, longest).wait(&mut child, &twin);
            child.kill().unwrap();
            child.wait().unwrap();
            for (name, bytes) in outputs() {
                assert!(bytes.is_none() || bytes == whole[name], "{name} is neither complete nor absent");
            }
        }
    }
    ok(&evaluate);
    ok(&compare);
    assert_eq!(outputs(), whole);
}

#[test]
fn a_fine_tuning_killed_anywhere_equals_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let (data, policy, twin) = (tiny("data/train.jsonl"), tiny("policy"), dir.path().join("twin"));
    let quick = "finetune --epochs 3 --batch-size 8 --learning-rate 5e-3 --evaluate-every 6 --save-every 4 --log-every 2 \
                 --rouge-rows 4 --validation-rows 8 --max-source 96 --max-target 24";
    let finetune = |out: &Path| -> Vec<String> {
        let given = ["--policy", &policy, "--data", &data, "--validation", &data, "--out", text(out)];
        quick.split_whitespace().chain(given).map(str::to_string).collect()
    };
    let began = Instant::now();
    ok(&strs(&finetune(&twin)));
    let longest = began.elapsed() / 2;
    let mut rng = Rng::new(seed(), Purpose::Shuffle, 1, 0);
    let mut tally = Tally::default();
    for victim in 0..3 {
        let run = dir.path().join(format!("victim-{victim}"));
        let resume = ["finetune", "--resume", text(&run)];
        kill_and_resume(&strs(&finetune(&run)), &resume, &run, 8, &mut rng, longest, &mut tally);
        assert_same(&run, &twin);
    }
    eprintln!("{tally:?}");
    assert!(tally.kills >= 5, "{tally:?}");
}

fn strs(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}
