//! Products of tiles on the tile unit of newer Xeons (AMX), which multiplies bf16 and sums in f32. No crate has these
//! instructions.

use super::pack::Tile;
use super::product::Unit;
use std::arch::asm;

/// f32 from three parts: a line is prefetched with each of a chunk's 24 products, which is all of the left side's with `COLS`
/// columns. The six largest of the nine products of parts are summed; the other three are below 2⁻²⁵ of them, less than f32's
/// rounding. It is about one and a half times as fast as AVX-512, and its errors are not larger.
pub(super) const F32: Unit<3> =
    Unit { begin: configure, end: release, blocks: [of_bf16, of_f16, full], asked: 4 * 64 * 6 };

/// Numbers rounded to bf16. Not yet tried on a processor that has the unit.
pub(super) const BF16: Unit<1> = Unit { begin: configure, end: release, blocks: [rounded], asked: 4 * 64 * 2 };

/// Makes all eight tiles 16 rows of 64 bytes.
///
/// # Safety
/// [`amx`](crate::kernels::platform::amx) must have said yes.
unsafe fn configure() {
    let mut config = Tile([0; 512]);
    config.0[0] = 1; // palette
    config.0[8..16].fill(64); // bytes a row
    config.0[24..28].fill(16 << 8 | 16); // rows, a byte each
    // SAFETY: `config` has the 64 bytes that the instruction reads, in its format.
    unsafe { asm!("ldtilecfg [{}]", in(reg) config.0.as_ptr(), options(nostack, readonly)) };
}

/// # Safety
/// As [`configure`]'s.
unsafe fn release() {
    // SAFETY: the unit is there; nothing uses its tiles any more.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Four products of a chunk, twice 16 rows with twice 16 columns, and prefetches of the next lines: a product's left tiles are
/// not in the second-level cache, and each row of blocks is used long enough for the next one to arrive.
macro_rules! four {
    ($a:literal $b:literal $c:literal $d:literal) => {
        concat!(
            "tdpbf16ps tmm0, tmm4, tmm6\nprefetcht1 [{p} + ",
            $a,
            "]\ntdpbf16ps tmm1, tmm4, tmm7\nprefetcht1 [{p} + ",
            $b,
            "]\ntdpbf16ps tmm2, tmm5, tmm6\nprefetcht1 [{p} + ",
            $c,
            "]\ntdpbf16ps tmm3, tmm5, tmm7\nprefetcht1 [{p} + ",
            $d,
            "]",
        )
    };
}

/// A [`Block`](super::product::Block) of chunks with this many tiles: the parts h, m, l, or only h, twice 16 rows each.
macro_rules! block {
    ($name:ident, $tiles:literal tiles: $($line:expr),+ $(,)?) => {
        /// # Safety
        /// Each side must have `chunks` > 0 times that many tiles, and the tiles of the unit must be configured.
        unsafe fn $name(left: *const Tile, right: *const Tile, chunks: usize, next: *const u8, sums: &mut [Tile; 4]) {
            // SAFETY: reads `chunks` times that many tiles of each side, which are there, and writes the four tiles of `sums`; prefetches do not
            // fault; all registers that it changes are declared.
            unsafe {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "2:",
                    $($line,)+
                    "add {a}, {step}", "add {b}, {step}", "add {p}, {asked}",
                    "dec {n}", "jnz 2b",
                    "tilestored [{c} + {row}*1], tmm0", "tilestored [{c} + {row}*1 + 1024], tmm1",
                    "tilestored [{c} + {row}*1 + 2048], tmm2", "tilestored [{c} + {row}*1 + 3072], tmm3",
                    a = inout(reg) left => _, b = inout(reg) right => _, n = inout(reg) chunks => _,
                    p = inout(reg) next => _, asked = const 4 * 64 * $tiles, step = const 1024 * $tiles,
                    c = in(reg) sums.as_mut_ptr(), row = in(reg) 64usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

// In this order, most products reuse a loaded pair. The six products: lh, mh, hh, hl, hm, mm.
block! { full, 6 tiles:
    "tileloadd tmm4, [{a} + {row}*1 + 4096]", "tileloadd tmm6, [{b} + {row}*1]",
    "tileloadd tmm7, [{b} + {row}*1 + 1024]", "tileloadd tmm5, [{a} + {row}*1 + 5120]", four!(0 64 128 192),
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(256 320 384 448),
    "tileloadd tmm4, [{a} + {row}*1]", "tileloadd tmm5, [{a} + {row}*1 + 1024]", four!(512 576 640 704),
    "tileloadd tmm6, [{b} + {row}*1 + 4096]", "tileloadd tmm7, [{b} + {row}*1 + 5120]", four!(768 832 896 960),
    "tileloadd tmm6, [{b} + {row}*1 + 2048]", "tileloadd tmm7, [{b} + {row}*1 + 3072]", four!(1024 1088 1152 1216),
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(1280 1344 1408 1472),
}

// If the right side is f16: no l.
block! { of_f16, 6 tiles:
    "tileloadd tmm4, [{a} + {row}*1 + 4096]", "tileloadd tmm6, [{b} + {row}*1]",
    "tileloadd tmm7, [{b} + {row}*1 + 1024]", "tileloadd tmm5, [{a} + {row}*1 + 5120]", four!(0 64 128 192),
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(256 320 384 448),
    "tileloadd tmm4, [{a} + {row}*1]", "tileloadd tmm5, [{a} + {row}*1 + 1024]", four!(512 576 640 704),
    "tileloadd tmm6, [{b} + {row}*1 + 2048]", "tileloadd tmm7, [{b} + {row}*1 + 3072]", four!(768 832 896 960),
    "prefetcht1 [{p} + 1024]", "prefetcht1 [{p} + 1088]", "prefetcht1 [{p} + 1152]", "prefetcht1 [{p} + 1216]",
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(1280 1344 1408 1472),
}

// If it is bf16: only h.
block! { of_bf16, 6 tiles:
    "tileloadd tmm4, [{a} + {row}*1 + 4096]", "tileloadd tmm6, [{b} + {row}*1]",
    "tileloadd tmm7, [{b} + {row}*1 + 1024]", "tileloadd tmm5, [{a} + {row}*1 + 5120]", four!(0 64 128 192),
    "prefetcht1 [{p} + 256]", "prefetcht1 [{p} + 320]", "prefetcht1 [{p} + 384]", "prefetcht1 [{p} + 448]",
    "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]", four!(512 576 640 704),
    "prefetcht1 [{p} + 768]", "prefetcht1 [{p} + 832]", "prefetcht1 [{p} + 896]", "prefetcht1 [{p} + 960]",
    "tileloadd tmm4, [{a} + {row}*1]", "tileloadd tmm5, [{a} + {row}*1 + 1024]", four!(1024 1088 1152 1216),
    "prefetcht1 [{p} + 1280]", "prefetcht1 [{p} + 1344]", "prefetcht1 [{p} + 1408]", "prefetcht1 [{p} + 1472]",
}

// Both sides are bf16: one product.
block! { rounded, 2 tiles:
    "tileloadd tmm4, [{a} + {row}*1]", "tileloadd tmm6, [{b} + {row}*1]",
    "tileloadd tmm7, [{b} + {row}*1 + 1024]", "tileloadd tmm5, [{a} + {row}*1 + 1024]", four!(0 64 128 192),
    "prefetcht1 [{p} + 256]", "prefetcht1 [{p} + 320]", "prefetcht1 [{p} + 384]", "prefetcht1 [{p} + 448]",
}
