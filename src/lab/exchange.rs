//! What ranks send each other about their rows of a batch: generated responses and scores, as bytes, so that every rank gets
//! the same numbers, bit for bit.

use crate::error::{Error, Result};
use crate::model::generate::Generated;
use crate::model::reward::Scored;
use crate::ppo::peers::{Peers, from_bytes, to_bytes};
use crate::protocol::ByLabel;

/// The responses to all rows of a batch, in order, from those to each rank's share.
///
/// # Errors
/// As [`Peers::gather`].
pub fn generated(mine: Result<Vec<Generated>>, peers: &Peers) -> Result<Vec<Generated>> {
    if peers.size() == 1 {
        return mine;
    }
    let all = peers.gather(mine.map(|rows| rows.iter().flat_map(row_bytes).collect()))?;
    let mut rows = Vec::new();
    for mut bytes in all.iter().map(Vec::as_slice) {
        while !bytes.is_empty() {
            rows.push(read_row(&mut bytes)?);
        }
    }
    Ok(rows)
}

/// The scores of all rows of a batch, in order, from those of each rank's share.
///
/// # Errors
/// As [`Peers::gather`].
pub fn scored(mine: Result<Vec<Scored>>, peers: &Peers) -> Result<Vec<Scored>> {
    if peers.size() == 1 {
        return mine;
    }
    let logits = mine.map(|rows| rows.iter().flat_map(|s| [s.logits.nothate, s.logits.hate]).collect());
    let all = peers.rows(logits)?.concat();
    Ok(all.chunks_exact(2).map(|pair| Scored::new(ByLabel { nothate: pair[0], hate: pair[1] })).collect())
}

/// Number of ids, whether the row ended, ids, and the numbers of each id but the first.
fn row_bytes(row: &Generated) -> Vec<u8> {
    let mut bytes = (row.ids.len() as u32).to_le_bytes().to_vec();
    bytes.push(u8::from(row.ended));
    bytes.extend(row.ids.iter().flat_map(|id| id.to_le_bytes()));
    [&row.logprobs, &row.values, &row.entropy].into_iter().for_each(|numbers| bytes.extend(to_bytes(numbers)));
    bytes
}

fn read_row(bytes: &mut &[u8]) -> Result<Generated> {
    let cut = || Error::input("a response from another rank is cut", "start the same program on all ranks");
    let mut take = |n: usize| bytes.split_off(..n).ok_or_else(cut);
    let (count, _) = take(4)?.as_chunks::<4>();
    let count = u32::from_le_bytes(*count.first().ok_or_else(cut)?) as usize;
    let ended = take(1)? == [1];
    let (ids, _) = take(4 * count)?.as_chunks::<4>();
    let ids = ids.iter().map(|id| u32::from_le_bytes(*id)).collect();
    let mut numbers = || from_bytes(take(4 * count.saturating_sub(1))?);
    Ok(Generated { ids, logprobs: numbers()?, values: numbers()?, entropy: numbers()?, ended })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn responses_are_read_as_they_were_sent() {
        let row = |ids: &[u32], x: f32| Generated {
            ids: ids.to_vec(),
            logprobs: vec![x; ids.len() - 1],
            values: vec![-x; ids.len() - 1],
            entropy: vec![2.0 * x; ids.len() - 1],
            ended: ids.len() > 2,
        };
        let rows = [row(&[0, 70_000, 1], 0.1), row(&[0, 5], f32::MIN_POSITIVE), row(&[0], 0.0)];
        let bytes: Vec<u8> = rows.iter().flat_map(row_bytes).collect();
        let mut rest = bytes.as_slice();
        let read: Vec<Generated> = (0..3).map(|_| read_row(&mut rest).unwrap()).collect();
        assert!(read == rows && rest.is_empty());
        assert!(read_row(&mut &bytes[..bytes.len() - 6]).is_ok(), "the first row is complete");
        assert!(read_row(&mut &bytes[..20]).is_err(), "the first row is cut");
    }
}
