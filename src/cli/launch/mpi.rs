//! Connects ranks over MPI (feature `mpi`, crate `mpi`).

use crate::cli::{signals, terminal};
use crate::error::{Error, Result};
use crate::lab::train::Link;
use mpi::Threading;
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use std::time::{Duration, Instant};

/// How long to look for the other ranks without sleeping.
const BUSY: Duration = Duration::from_millis(2);
/// How long to sleep between two looks after that: ranks that wait leave the cores to others.
const NAP: Duration = Duration::from_micros(200);
/// How long to wait for the other ranks after a signal. Open MPI kills a rank one second after its first signal.
const PATIENCE: Duration = Duration::from_millis(500);

/// This process's end of the connection.
pub struct Mpi {
    world: SimpleCommunicator,
    /// Ends MPI when it is dropped.
    _universe: Universe,
}

impl Mpi {
    /// Connects to the processes that were started together with this one.
    ///
    /// # Errors
    /// MPI was started before.
    pub fn start() -> Result<Self> {
        // Only the main thread calls MPI.
        let started = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, _) = started.ok_or_else(|| Error::bug("MPI was started twice"))?;
        Ok(Self { world: universe.world(), _universe: universe })
    }

    /// What every rank gives. After a signal, the process ends if the others do not answer: they may have ended.
    fn lengths(&self, mine: u64) -> Vec<u64> {
        let mut all = vec![0u64; self.size()];
        mpi::request::scope(|scope| {
            let mut request = self.world.immediate_all_gather_into(scope, &mine, &mut all[..]);
            let (begun, mut signalled) = (Instant::now(), None);
            while let Err(waiting) = request.test() {
                request = waiting;
                if signals::stop() && signalled.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                    self.give_up();
                }
                if begun.elapsed() > BUSY {
                    std::thread::sleep(NAP);
                } else {
                    std::thread::yield_now();
                }
            }
        });
        all
    }

    /// Ends this process without the others; their launcher then ends them.
    fn give_up(&self) -> ! {
        let (status, _) = signals::stopped();
        if self.rank() == 0 {
            terminal::say(
                "stopped: the other ranks have ended or do not answer. A run continues from its newest checkpoint with: \
                 detox-lab train --resume RUN, also with another number of ranks",
            );
        }
        std::process::exit(status.into())
    }
}

impl Link for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        let lengths = self.lengths(mine.len() as u64);
        let too_large = || Error::input("the ranks' messages have more than 2 GB in all", "start fewer ranks");
        if lengths.iter().sum::<u64>() > i32::MAX as u64 {
            return Err(too_large());
        }
        let counts: Vec<i32> = lengths.iter().map(|length| *length as i32).collect();
        let begins = counts.iter().scan(0, |at, count| Some(std::mem::replace(at, *at + count)));
        let begins: Vec<i32> = begins.collect();
        let mut all = vec![0u8; lengths.iter().sum::<u64>() as usize];
        let mut parts = PartitionMut::new(&mut all[..], counts, begins);
        self.world.all_gather_varcount_into(mine, &mut parts);
        drop(parts);
        let mut rest = all.as_slice();
        Ok(lengths.iter().filter_map(|length| rest.split_off(..*length as usize)).map(<[u8]>::to_vec).collect())
    }
}
