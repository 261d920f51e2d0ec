//! Data-parallel work: the processes of one run (ranks) divide the rows of every batch, and each of them gets the numbers of
//! all rows. A [`Link`] connects them, for example MPI; [`Peers::alone`] is a run of one process, which sends nothing.
//!
//! All ranks call the functions that exchange numbers in the same order. A rank that fails sends its error with the next
//! exchange, so that all ranks end with the same error and none waits for ever.

use crate::error::{Error, Result};
use std::cell::Cell;
use std::ops::Range;

/// Connects the ranks of a run.
pub trait Link {
    /// This process's number, from 0.
    fn rank(&self) -> usize;

    /// Number of processes.
    fn size(&self) -> usize;

    /// Sends `mine` to all ranks and returns what each of them sent, in rank order. All ranks call it equally often.
    ///
    /// # Errors
    /// The connection is broken, or the caller was told to stop while it waited.
    fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>>;
}

/// The ranks of a run, as one of them sees them.
pub struct Peers {
    /// None: a run of one process.
    link: Option<Box<dyn Link>>,
    /// An exchange has failed: all ranks know it and exchange nothing more.
    failed: Cell<bool>,
}

/// Numbers per message when gradients are added, so that memory does not grow with ranks times parameters.
const PIECE: usize = 1 << 20;

impl Peers {
    /// A run of one process.
    pub fn alone() -> Self {
        Self { link: None, failed: Cell::new(false) }
    }

    /// The ranks that `link` connects.
    pub fn new(link: impl Link + 'static) -> Self {
        Self { link: Some(Box::new(link)), failed: Cell::new(false) }
    }

    /// This process's number, from 0.
    pub fn rank(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.rank())
    }

    /// Number of ranks.
    pub fn size(&self) -> usize {
        self.link.as_ref().map_or(1, |link| link.size())
    }

    /// Whether this is rank 0, which alone writes files and prints.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// The rows of `rows` that this rank computes: consecutive ones, and none if there are more ranks than rows.
    pub fn share(&self, rows: usize) -> Range<usize> {
        self.share_of(self.rank(), rows)
    }

    fn share_of(&self, rank: usize, rows: usize) -> Range<usize> {
        rows * rank / self.size()..rows * (rank + 1) / self.size()
    }

    /// Refuses more ranks than rows, of which some ranks would have none. `setting`: what the number of rows is called.
    ///
    /// # Errors
    /// There are more ranks than rows.
    pub fn check_rows(&self, rows: usize, setting: &str) -> Result<()> {
        if self.size() <= rows {
            return Ok(());
        }
        let what = format!("{} ranks are more than {setting} = {rows}: some would have no row", self.size());
        Err(Error::input(what, format!("start at most {rows} ranks, or raise {setting}")))
    }

    /// Exchanges bytes: what each rank sent, in rank order.
    ///
    /// # Errors
    /// The error of the first rank that has one, on all ranks; another rank's names that rank.
    pub fn gather(&self, mine: Result<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let Some(link) = &self.link else { return Ok(vec![mine?]) };
        if self.failed.get() {
            return Err(mine.err().unwrap_or_else(|| Error::bug("ranks exchange numbers after an error")));
        }
        let message = match &mine {
            Ok(bytes) => [&[GOOD], bytes.as_slice()].concat(),
            Err(error) => [&[FAILED], serde_json::to_vec(error).map_err(Error::bug)?.as_slice()].concat(),
        };
        let mut all = link.all_gather(&message).inspect_err(|_| self.failed.set(true))?;
        let failed = |message: &Vec<u8>| message.first() != Some(&GOOD);
        if let Some(rank) = all.iter().position(failed) {
            self.failed.set(true);
            let error = serde_json::from_slice(all[rank].get(1..).unwrap_or_default()).map_err(Error::bug)?;
            let everywhere = all.iter().all(|message| message == &all[rank]);
            return Err(if everywhere { error } else { of_rank(error, rank) });
        }
        all.iter_mut().for_each(|message| *message = message.split_off(1));
        Ok(all)
    }

    /// Waits for all ranks, at the end or before a step that needs all of them.
    ///
    /// # Errors
    /// As [`Peers::gather`].
    pub fn agree<T>(&self, mine: Result<T>) -> Result<T> {
        if self.failed.get() {
            return mine; // all ranks know the error
        }
        let (value, told) = match mine {
            Ok(value) => (Some(value), Ok(Vec::new())),
            Err(error) => (None, Err(error)),
        };
        self.gather(told)?;
        value.ok_or_else(|| Error::bug("a failed rank got no error from the exchange"))
    }

    /// Refuses ranks that differ in something that must be the same everywhere: `mine` as lines of text, of which `what` is the
    /// name.
    ///
    /// # Errors
    /// Names the first rank that differs from rank 0, and the first lines that differ.
    pub fn check_same(&self, what: &str, mine: &str, hint: &str) -> Result<()> {
        let all = self.gather(Ok(mine.as_bytes().to_vec()))?;
        let Some(rank) = all.iter().position(|theirs| *theirs != all[0]) else { return Ok(()) };
        let lines = |rank: usize| String::from_utf8_lossy(&all[rank]).lines().map(str::to_string).collect::<Vec<_>>();
        let (first, other) = (lines(0), lines(rank));
        let at = (0..).find(|&i| first.get(i) != other.get(i)).unwrap_or_default();
        let shown = |lines: &[String]| lines.get(at).map_or_else(|| "nothing".into(), Clone::clone);
        let what = format!("{what}: rank 0 has {}, rank {rank} has {}", shown(&first), shown(&other));
        self.failed.set(true); // all ranks compare the same texts
        Err(Error::input(what, hint))
    }

    /// The numbers of all `rows` rows, in order, from those of each rank's share; `mine` has equally many numbers for each row.
    ///
    /// # Errors
    /// As [`Peers::gather`].
    pub fn rows(&self, mine: Result<Vec<f32>>) -> Result<Vec<Vec<f32>>> {
        if self.link.is_none() {
            return Ok(vec![mine?]);
        }
        self.gather(mine.map(|numbers| to_bytes(&numbers)))?.iter().map(|bytes| from_bytes(bytes)).collect()
    }

    /// Adds the numbers of all ranks, position by position and in rank order, so that the same run gives the same bits.
    ///
    /// # Errors
    /// As [`Peers::gather`]; ranks with different amounts of numbers.
    pub fn sum(&self, mine: Result<Vec<f32>>) -> Result<Vec<f32>> {
        if self.link.is_none() {
            return mine;
        }
        let lengths =
            self.gather(mine.as_ref().map(|m| (m.len() as u64).to_le_bytes().to_vec()).map_err(Clone::clone))?;
        let mut sum = mine?;
        if lengths.iter().any(|length| *length != lengths[0]) {
            self.failed.set(true);
            return Err(Error::bug("ranks have different numbers of gradients"));
        }
        for piece in sum.chunks_mut(PIECE) {
            let all = self.gather(Ok(to_bytes(piece)))?;
            piece.copy_from_slice(&from_bytes(&all[0])?);
            for bytes in &all[1..] {
                piece.iter_mut().zip(from_bytes(bytes)?).for_each(|(sum, x)| *sum += x);
            }
        }
        Ok(sum)
    }
}

/// The first byte of a message: numbers follow, or an error.
const GOOD: u8 = 0;
const FAILED: u8 = 1;

/// The same error with the rank on which it happened.
fn of_rank(error: Error, rank: usize) -> Error {
    let name = |what: String| format!("rank {rank}: {what}");
    match error {
        Error::File { path, what, hint } => Error::File { path: name(path), what, hint },
        Error::Input { what, hint } => Error::Input { what: name(what), hint },
        Error::Shape { tensor, got, expected, hint } => Error::Shape { tensor: name(tensor), got, expected, hint },
        Error::NotFinite { what, row, hint } => Error::NotFinite { what: name(what), row, hint },
        Error::Tensor(what) => Error::Tensor(name(what)),
        Error::Stopped => Error::Stopped,
    }
}

/// Numbers as bytes, least significant first.
pub fn to_bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The numbers of [`to_bytes`].
///
/// # Errors
/// A number that is cut: the ranks run different programs.
pub fn from_bytes(bytes: &[u8]) -> Result<Vec<f32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Error::input("a message of another rank is cut", "start the same program on all ranks"));
    }
    Ok(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A rank whose peers always send the same.
    struct Fixed(Vec<Vec<u8>>);

    impl Link for Fixed {
        fn rank(&self) -> usize {
            1
        }
        fn size(&self) -> usize {
            self.0.len()
        }
        fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
            let mut all = self.0.clone();
            all[1] = mine.to_vec();
            Ok(all)
        }
    }

    #[test]
    fn shares_are_consecutive_and_cover_all_rows() {
        for size in 1..9 {
            let peers = Peers::new(Fixed(vec![Vec::new(); size.max(2)]));
            for rows in 0..20 {
                let shares: Vec<usize> = (0..peers.size()).flat_map(|rank| peers.share_of(rank, rows)).collect();
                assert_eq!(shares, (0..rows).collect::<Vec<_>>());
                let sizes = (0..peers.size()).map(|rank| peers.share_of(rank, rows).len());
                assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            }
        }
        assert_eq!(Peers::alone().share(5), 0..5);
    }

    #[test]
    fn sums_are_in_rank_order() {
        // In f32, (1e8 + 1) - 1e8 is 0, and 1e8 - 1e8 + 1 is 1.
        let message = |x: f32| [&[GOOD], &x.to_le_bytes()[..]].concat();
        struct Lengths(Fixed);
        impl Link for Lengths {
            fn rank(&self) -> usize {
                1
            }
            fn size(&self) -> usize {
                3
            }
            fn all_gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>> {
                if mine.len() == 9 { Ok(vec![mine.to_vec(); 3]) } else { self.0.all_gather(mine) }
            }
        }
        let peers = |first, last| Peers::new(Lengths(Fixed(vec![message(first), Vec::new(), message(last)])));
        assert_eq!(peers(1e8, -1e8).sum(Ok(vec![1.0])).unwrap(), [0.0]);
        assert_eq!(peers(1e8, 1.0).sum(Ok(vec![-1e8])).unwrap(), [1.0]);
        assert_eq!(Peers::alone().sum(Ok(vec![0.1])).unwrap(), [0.1]);
    }

    #[test]
    fn the_error_of_another_rank_is_returned_with_its_number_and_nothing_more_is_sent() {
        let error = Error::input("no adapter", "give one");
        let told = [&[FAILED], serde_json::to_vec(&error).unwrap().as_slice()].concat();
        let peers = Peers::new(Fixed(vec![vec![GOOD], Vec::new(), told]));
        assert_eq!(peers.gather(Ok(Vec::new())).unwrap_err(), Error::input("rank 2: no adapter", "give one"));
        assert_eq!(peers.agree::<()>(Err(Error::Stopped)).unwrap_err(), Error::Stopped, "without an exchange");
        let stopped = Peers::new(Fixed(vec![vec![GOOD], Vec::new()]));
        assert_eq!(stopped.agree::<()>(Err(Error::Stopped)).unwrap_err(), Error::Stopped);
    }

    #[test]
    fn ranks_that_differ_are_named() {
        let peers = Peers::new(Fixed(vec![[&[GOOD], &b"1"[..]].concat(), Vec::new()]));
        let message = peers.check_same("seed", "2", "give the same --seed").unwrap_err().to_string();
        assert!(message.contains("seed: rank 0 has 1, rank 1 has 2"), "{message}");
        assert!(peers.check_rows(1, "mini_batch_size").unwrap_err().to_string().contains("2 ranks"));
        assert!(peers.check_rows(2, "mini_batch_size").is_ok());
    }
}
