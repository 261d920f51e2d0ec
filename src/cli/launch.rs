//! The processes (ranks) of one run: whether `mpirun` or `srun` started several, their connection over MPI, and what must be
//! the same on all of them before models are loaded.

use crate::error::{Error, Result};
use crate::lab::train::Peers;

#[cfg(feature = "mpi")]
mod mpi;

/// Number and rank of the processes, as launchers tell them: Open MPI, then MPICH and Slurm's PMI-2, then Slurm's PMIx.
const VARIABLES: [[&str; 2]; 3] =
    [["OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"], ["PMI_SIZE", "PMI_RANK"], ["SLURM_STEP_NUM_TASKS", "PMIX_RANK"]];

/// Number of processes that were started together, and this one's rank; 1 and 0 without a launcher.
fn launched() -> (usize, usize) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<usize>().ok();
    let found = VARIABLES.iter().find_map(|[size, rank]| Some((number(size)?, number(rank)?)));
    found.unwrap_or((1, 0))
}

/// Whether this process prints: it is the only one, or rank 0.
pub fn is_first() -> bool {
    launched().1 == 0
}

/// Connects the processes that a launcher started; a process on its own has no peers. `command`: the command's name, and whether
/// it can be divided among ranks.
///
/// # Errors
/// Several processes, but the command cannot be divided, or the program was built without MPI.
pub fn connect((command, divided): (&str, bool)) -> Result<Peers> {
    let (size, _) = launched();
    if size == 1 {
        return Ok(Peers::alone());
    }
    if !divided {
        let what = format!("{command} was started as {size} processes, but it runs as one");
        return Err(Error::input(what, "start it without mpirun; train and evaluate can be divided among processes"));
    }
    let peers = over_mpi(size)?;
    super::memory::divide(on_this_machine(&peers)?);
    Ok(peers)
}

#[cfg(feature = "mpi")]
fn over_mpi(size: usize) -> Result<Peers> {
    let link = mpi::Mpi::start()?;
    let peers = Peers::new(link);
    if peers.size() != size {
        let what = format!("the launcher started {size} processes, but MPI connects {}", peers.size());
        return Err(Error::input(what, "start the program with the mpirun of the MPI library that it was built with"));
    }
    Ok(peers)
}

#[cfg(not(feature = "mpi"))]
fn over_mpi(size: usize) -> Result<Peers> {
    let what = format!("{size} processes were started, but this program was built without MPI");
    Err(Error::input(what, "build it with: cargo build --release --features mpi; or start it without mpirun"))
}

/// Number of ranks on this machine.
fn on_this_machine(peers: &Peers) -> Result<usize> {
    let machine = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Ok(peers.gather(Ok(machine.clone()))?.iter().filter(|other| **other == machine).count())
}

/// Refuses ranks that were started with different settings or program versions; `settings` is one line for each of them.
///
/// # Errors
/// Names the first setting that differs.
pub fn check_same_settings(peers: &Peers, settings: &serde_json::Value) -> Result<()> {
    let mut lines = vec![format!("version {}", env!("CARGO_PKG_VERSION"))];
    flatten("", settings, &mut lines);
    peers.check_same("settings", &lines.join("\n"), "start all ranks with one command line and the same program")
}

fn flatten(name: &str, value: &serde_json::Value, lines: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, lines);
            }
        }
        other => lines.push(format!("{name} {other}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings_are_lines_with_their_names() {
        let mut lines = Vec::new();
        flatten("", &serde_json::json!({"seed": 1, "ppo": {"gamma": 0.5}, "adapter": null}), &mut lines);
        assert_eq!(lines, ["seed 1", "ppo.gamma 0.5", "adapter null"]);
    }
}
