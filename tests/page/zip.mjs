// Reads and writes zip files, as far as the tests need it: stored and deflated entries by the central directory, no
// encryption, no zip64. What is in them is the tests' business.
import { deflateRawSync, inflateRawSync } from "node:zlib";

const LOCAL = 0x04034b50, CENTRAL = 0x02014b50, END = 0x06054b50;
const STORED = 0, DEFLATED = 8;

const table = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 255];
  return ~crc >>> 0;
}

/** The files of a zip, a map from name to bytes; every checksum is checked. */
export function unpack(zip) {
  // The end record is the last thing but for a comment.
  let end = zip.length - 22;
  while (end >= 0 && zip.readUInt32LE(end) !== END) end--;
  if (end < 0) throw new Error("not a zip: it has no end record");
  const files = new Map();
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    if (zip.readUInt32LE(at) !== CENTRAL) throw new Error("the zip's directory is torn");
    const [method, crc, packed, size] = [zip.readUInt16LE(at + 10), ...[16, 20, 24].map((k) => zip.readUInt32LE(at + k))];
    const [named, extra, comment] = [28, 30, 32].map((k) => zip.readUInt16LE(at + k));
    const local = zip.readUInt32LE(at + 42);
    const name = zip.toString("utf8", at + 46, at + 46 + named);
    at += 46 + named + extra + comment;
    if (name.endsWith("/")) continue;
    const from = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const content = zip.subarray(from, from + packed);
    if (method !== STORED && method !== DEFLATED) throw new Error(`${name}: packed by a method (${method}) that is unknown here`);
    const bytes = method === DEFLATED ? inflateRawSync(content) : content;
    if (bytes.length !== size || crc32(bytes) !== crc) throw new Error(`${name}: size or checksum is wrong`);
    files.set(name, bytes);
  }
  return files;
}

/** Files by name as a zip: deflated, as `zip -r` makes it, or stored, as torch does. */
export function pack(files, { stored = false } = {}) {
  const parts = [], directory = [];
  let offset = 0;
  for (const [name, bytes] of files) {
    const packed = stored ? bytes : deflateRawSync(bytes), title = Buffer.from(name);
    // What the local header and the directory's entry have in common: from the version needed to the name's length.
    const common = Buffer.alloc(24);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(stored ? STORED : DEFLATED, 4);
    common.writeUInt16LE((1 << 5) | 1, 8); // 1 January 1980: the day that a zip calls 0 is none
    common.writeUInt32LE(crc32(bytes), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(title.length, 22);
    parts.push(u32(LOCAL), common, u16(0), title, packed);
    directory.push(u32(CENTRAL), u16(20), common, Buffer.alloc(12), u32(offset), title);
    offset += 30 + title.length + packed.length;
  }
  const entries = Buffer.concat(directory), count = u16(files.size);
  return Buffer.concat([...parts, entries, u32(END), u32(0), count, count, u32(entries.length), u32(offset), u16(0)]);
}

function u16(value) {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
