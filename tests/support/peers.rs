//! Ranks that are threads of one process, connected by channels.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use detox_lab::error::{Error, Result};
use detox_lab::ppo::peers::{Link, Peers};
use std::sync::mpsc::{Receiver, Sender, channel};

/// One rank's ends of the channels.
struct Channels {
    rank: usize,
    /// To each rank.
    to: Vec<Sender<Vec<u8>>>,
    /// From each rank.
    from: Vec<Receiver<Vec<u8>>>,
}

impl Link for Channels {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
        let gone = |_| Error::input("a rank has ended without an error", "look at its own message");
        self.to.iter().for_each(|to| drop(to.send(mine.to_vec())));
        self.from.iter().map(|from| from.recv().map_err(|_| gone(()))).collect()
    }
}

/// Runs `work` on `size` ranks and returns their results in rank order. A rank that fails tells the others.
pub fn on_ranks<T: Send>(size: usize, work: impl Fn(&Peers) -> Result<T> + Sync) -> Vec<Result<T>> {
    let mut from: Vec<Vec<Receiver<Vec<u8>>>> = (0..size).map(|_| Vec::new()).collect();
    let mut to: Vec<Vec<Sender<Vec<u8>>>> = (0..size).map(|_| Vec::new()).collect();
    for to in &mut to {
        for from in &mut from {
            let (sender, receiver) = channel();
            to.push(sender);
            from.push(receiver);
        }
    }
    let work = &work;
    std::thread::scope(|scope| {
        let ends = to.into_iter().zip(from).enumerate();
        let start = |(rank, (to, from))| {
            scope.spawn(move || {
                let peers = Peers::new(Channels { rank, to, from });
                peers.agree(work(&peers))
            })
        };
        let threads: Vec<_> = ends.map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
