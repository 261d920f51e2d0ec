//! TensorBoard event files as bytes: TFRecord frames with `Event` messages that contain scalar summaries. The caller provides
//! clock and host name, and appends each returned block to one file. Source: tensorflow/core/util/event.proto,
//! framework/summary.proto, lib/io/record_writer.h.

/// The file name that TensorBoard looks for: `events.out.tfevents.<seconds since 1970>.<host>`.
pub fn file_name(secs: u64, host: &str) -> String {
    // A host name must not add a folder to the path.
    format!("events.out.tfevents.{secs:010}.{}", host.replace(['/', '\\'], "_"))
}

/// The seconds since 1970 in an event file's name; none if it is not an event file.
pub fn secs_of(name: &str) -> Option<u64> {
    name.strip_prefix("events.out.tfevents.")?.split('.').next()?.parse().ok()
}

/// The length of the start of an event file that contains complete events of steps up to `step`; a run that continues after
/// `step` keeps only this part.
pub fn up_to(file: &[u8], step: u64) -> usize {
    let mut end = 0;
    while let Some((length, at)) = first_record(&file[end..])
        && at <= step
    {
        end += length;
    }
    end
}

/// Length of the first frame, and the step of its event; none if it is incomplete or not written by detox-lab.
fn first_record(bytes: &[u8]) -> Option<(usize, u64)> {
    let length = u64::from_le_bytes(bytes.first_chunk().copied()?);
    let data = bytes.get(12..)?.get(..usize::try_from(length).ok()?)?;
    let sum = bytes.get(12 + data.len()..)?.first_chunk::<4>()?;
    if *sum != masked(crc32c(data)) || data.first() != Some(&key(1, FIXED64)) || data.get(9) != Some(&key(2, VARINT)) {
        return None;
    }
    let (mut step, mut shift) = (0, 0);
    for byte in data.get(10..)? {
        step |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((12 + data.len() + 4, step));
        }
        shift += 7;
    }
    None
}

/// The start of every event file. `wall_time` in seconds since 1970.
pub fn header(wall_time: f64) -> Vec<u8> {
    let mut event = time_and_step(wall_time, 0);
    bytes_field(&mut event, 3, b"brain.Event:2");
    record(&event)
}

/// An event with the scalars of a step. `wall_time` in seconds since 1970; tags as in metrics.jsonl (`objective/kl`).
pub fn scalars(wall_time: f64, step: u64, values: &[(&str, f32)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut entry = Vec::new();
        bytes_field(&mut entry, 1, tag.as_bytes());
        entry.push(key(2, FIXED32));
        entry.extend(value.to_le_bytes());
        bytes_field(&mut summary, 1, &entry);
    }
    let mut event = time_and_step(wall_time, step);
    bytes_field(&mut event, 5, &summary);
    record(&event)
}

// Protobuf wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

const fn key(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

fn time_and_step(wall_time: f64, step: u64) -> Vec<u8> {
    let mut event = vec![key(1, FIXED64)];
    event.extend(wall_time.to_le_bytes());
    event.push(key(2, VARINT));
    varint(&mut event, step);
    event
}

fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(key(field, LENGTH));
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A TFRecord frame: length, its checksum, the data, its checksum.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length, &masked(crc32c(&length))[..], data, &masked(crc32c(data))].concat()
}

/// TFRecord's masked checksum.
fn masked(crc: u32) -> [u8; 4] {
    crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// CRC-32C (Castagnoli), bit by bit, which is fast enough for a few kilobytes.
fn crc32c(data: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
    !data.iter().fold(!0u32, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn known_checksums() {
        // RFC 3720, B.4, and the check value of the CRC catalogue.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn frames_and_messages() {
        let block = header(1.5);
        assert_eq!(block[..8], 26u64.to_le_bytes());
        assert_eq!(block.len(), 8 + 4 + 26 + 4);
        assert_eq!(block[12..21], [&[0x09][..], &1.5f64.to_le_bytes()].concat());
        assert_eq!(block[21..38], *b"\x10\x00\x1a\x0dbrain.Event:2");

        let block = scalars(0.0, 300, &[("kl", 0.5)]);
        let event = &block[12..block.len() - 4];
        assert_eq!(event[9..12], [0x10, 0xac, 0x02]);
        assert_eq!(event[12..], *b"\x2a\x0b\x0a\x09\x0a\x02kl\x15\x00\x00\x00\x3f");
    }

    #[test]
    fn a_file_is_cut_after_a_step_and_before_an_incomplete_event() {
        let events: Vec<Vec<u8>> = [0, 1, 300, 301].map(|step| scalars(2.0, step, &[("kl", 0.5)])).into();
        let file = [header(1.0), events.concat()].concat();
        let length = |n: usize| header(1.0).len() + events[..n].iter().map(Vec::len).sum::<usize>();
        assert_eq!(up_to(&file, 301), file.len());
        assert_eq!(up_to(&file, 300), length(3));
        assert_eq!(up_to(&file, 0), length(1));
        for torn in 1..events[3].len() {
            assert_eq!(up_to(&file[..file.len() - torn], 301), length(3), "{torn} bytes are missing");
        }
        let mut damaged = file.clone();
        damaged[length(1) + 20] ^= 1;
        assert_eq!(up_to(&damaged, 301), length(1));
        assert_eq!((up_to(&[], 9), up_to(&[255; 64], 9)), (0, 0));
    }

    #[test]
    fn host_names_do_not_add_folders() {
        assert_eq!(secs_of(&file_name(1_700_000_000, "host")), Some(1_700_000_000));
        assert_eq!((secs_of("metrics.jsonl"), secs_of("events.out.tfevents.x")), (None, None));
        assert_eq!(file_name(1_700_000_000, "host"), "events.out.tfevents.1700000000.host");
        assert_eq!(file_name(1, "a/b"), "events.out.tfevents.0000000001.a_b");
    }
}
