//! f32 matrix products on the tile unit of newer Xeons (AMX), which multiplies bf16 and sums in f32. A number is split
//! into three bf16 parts without loss, x = h + m + l, and of the nine products the six largest are summed; the three left
//! out are below 2⁻²⁵ of theirs, less than f32's own rounding. About one and a half times the rate of AVX-512, with errors
//! no larger. The only file that names a processor: no crate offers these instructions. Elsewhere, and where processor or
//! system do not allow them, `cpu` multiplies with the crate `gemm`.

/// A matrix side: `len` rows (of the left matrix) or columns (of the right one) with `k` numbers each.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
pub struct Side {
    pub data: *const f32,
    pub len: usize,
    pub k: usize,
    /// From one row (column) to the next.
    pub stride: usize,
    /// From one of its numbers to the next.
    pub k_stride: usize,
}

/// Where a product goes: row-major, rows `stride` apart, `scale · product`, added to what is there with `accumulate`.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), allow(dead_code))]
pub struct Target {
    pub data: *mut f32,
    pub stride: usize,
    pub scale: f32,
    pub accumulate: bool,
}

// SAFETY: callers of `multiply` vouch for the memory; threads read the sides and write disjoint blocks of the target.
unsafe impl Send for Side {}
unsafe impl Sync for Side {}
unsafe impl Send for Target {}
unsafe impl Sync for Target {}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod unit {
    pub fn available() -> bool {
        false
    }

    /// # Safety
    /// None: it is never called.
    pub unsafe fn multiply(_: super::Side, _: super::Side, _: super::Target, _: usize) {}
}

pub use unit::{available, multiply};

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod unit {
    use super::super::cpu::for_tasks;
    use super::{Side, Target};
    use std::arch::asm;
    use std::arch::x86_64::*;
    use std::cell::Cell;
    use std::sync::OnceLock;

    /// Rows and columns of a block of the result, and numbers of a chunk of the sum.
    const BLOCK: usize = 32;
    /// Tiles of a block's chunk: three parts of twice 16 rows.
    const PARTS: usize = 6;
    /// What is packed at a time: left rows, right columns, numbers of the sum. A thread's columns fill half its L2 cache.
    const ROWS: usize = 1024;
    const COLS: usize = 256;
    const DEPTH: usize = 768;

    /// Numbers of a cache line, and lines that are asked for while a block's chunk is packed: as many as it has.
    const LINE: usize = 16;
    const ASKED: usize = BLOCK * BLOCK / LINE;

    /// 16 rows of 64 bytes.
    #[derive(Clone, Copy)]
    #[repr(C, align(64))]
    struct Tile([u16; 512]);

    /// May this process use the unit? Asks the system once.
    pub fn available() -> bool {
        static ANSWER: OnceLock<bool> = OnceLock::new();
        *ANSWER.get_or_init(|| {
            let vectors = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
            // bits 22 and 24 of edx: AMX-BF16 and AMX-TILE (Intel SDM, CPUID leaf 7)
            let (most, features) = (__cpuid(0).eax, __cpuid_count(7, 0).edx);
            vectors && most >= 7 && features >> 22 & 1 == 1 && features >> 24 & 1 == 1 && permitted()
        })
    }

    /// Linux gives a process the unit's 8 KB of registers when asked: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA).
    fn permitted() -> bool {
        let result: i64;
        // SAFETY: the call changes nothing but this permission.
        unsafe {
            asm!("syscall", inlateout("rax") 158i64 => result, in("rdi") 0x1023, in("rsi") 18,
                 lateout("rcx") _, lateout("r11") _, options(nostack));
        }
        result == 0
    }

    thread_local! {
        /// Packed tiles, kept so that no product asks the system for memory. Taken and put back, not borrowed: a thread that
        /// waits for others may begin another product.
        static LEFT: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
        static RIGHT: Cell<Vec<Tile>> = const { Cell::new(Vec::new()) };
    }

    /// `n` tiles of anything.
    fn tiles(mut kept: Vec<Tile>, n: usize) -> Vec<Tile> {
        if kept.len() < n {
            kept.resize(n, Tile([0; 512]));
        }
        kept
    }

    #[derive(Clone, Copy)]
    struct Tiles(*mut Tile);
    // SAFETY: tasks write disjoint blocks, and only read after all have written.
    unsafe impl Send for Tiles {}
    unsafe impl Sync for Tiles {}

    impl Tiles {
        /// The tiles of block `i` of `chunks` chunks.
        fn block(self, i: usize, chunks: usize) -> *mut Tile {
            // SAFETY: callers allotted as many.
            unsafe { self.0.add(i * chunks * PARTS) }
        }
    }

    /// The product of `a`'s rows with `b`'s columns, on `threads` threads (1, or all).
    ///
    /// # Safety
    /// [`available`] must have said yes; the sides and the target must be valid memory, and no one else may use the target.
    pub unsafe fn multiply(a: Side, b: Side, c: Target, threads: usize) {
        for k in (0..a.k).step_by(DEPTH) {
            let (a, b) = (part(a, k), part(b, k));
            let c = Target { accumulate: c.accumulate || k > 0, ..c };
            if b.len < 2 * BLOCK * threads {
                // few columns: every thread has rows of its own
                let rows = a.len.div_ceil(threads).next_multiple_of(BLOCK).min(ROWS);
                each(a.len.div_ceil(rows), threads, |i| {
                    let left = pack_left(rest(a, i * rows, rows), 1);
                    // SAFETY: rows of its own.
                    unsafe { columns(&left, rest(a, i * rows, rows), b, shifted(c, i * rows, 0)) };
                    LEFT.set(left);
                });
                continue;
            }
            let cols = b.len.div_ceil(b.len.div_ceil(COLS * threads) * threads).next_multiple_of(BLOCK);
            for row in (0..a.len).step_by(ROWS) {
                let a = rest(a, row, ROWS);
                let left = pack_left(a, threads);
                each(b.len.div_ceil(cols), threads, |j| {
                    // SAFETY: columns of its own.
                    unsafe { columns(&left, a, rest(b, j * cols, cols), shifted(c, row, j * cols)) };
                });
                LEFT.set(left);
            }
        }
    }

    fn each(n: usize, threads: usize, work: impl Fn(usize) + Sync) {
        if threads > 1 {
            for_tasks(n, work);
        } else {
            (0..n).for_each(work);
        }
    }

    /// From number `k` on, at most `DEPTH` of them.
    fn part(side: Side, k: usize) -> Side {
        Side { data: side.data.wrapping_add(k * side.k_stride), k: (side.k - k).min(DEPTH), ..side }
    }

    /// From row (column) `first` on, at most `len` of them.
    fn rest(side: Side, first: usize, len: usize) -> Side {
        Side { data: side.data.wrapping_add(first * side.stride), len: (side.len - first).min(len), ..side }
    }

    fn shifted(c: Target, row: usize, col: usize) -> Target {
        Target { data: c.data.wrapping_add(row * c.stride + col), ..c }
    }

    fn pack_left(a: Side, threads: usize) -> Vec<Tile> {
        let (blocks, chunks) = (a.len.div_ceil(BLOCK), a.k.div_ceil(BLOCK));
        let mut kept = tiles(LEFT.take(), blocks * chunks * PARTS);
        let out = Tiles(kept.as_mut_ptr());
        // SAFETY: the unit is there, and with it AVX-512; each block has its own tiles.
        each(blocks, threads, |i| unsafe {
            let (rows, out) = (rest(a, i * BLOCK, BLOCK), out.block(i, chunks));
            (0..chunks).for_each(|chunk| pack::<true>(rows, chunk * BLOCK, out.add(chunk * PARTS)));
        });
        kept
    }

    /// Packs `b`'s columns in the order in which they lie in memory, and asks for what comes next while it does: a weight is read
    /// once a product, from far away, and lines here and there in many pages are not what the processor foresees.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn pack_right(b: Side, out: Tiles) {
        let (blocks, chunks) = (b.len.div_ceil(BLOCK), b.k.div_ceil(BLOCK));
        // SAFETY: `chunks` times six tiles for each block.
        unsafe {
            if b.k_stride == 1 {
                for (j, i) in (0..blocks).flat_map(|j| (0..chunks).map(move |i| (j, i))) {
                    ask(b.data.wrapping_add((j + 1) * BLOCK * b.stride), b.stride, b.k.div_ceil(LINE), i);
                    pack::<false>(rest(b, j * BLOCK, BLOCK), i * BLOCK, out.block(j, chunks).add(i * PARTS));
                }
            } else {
                for (i, j) in (0..chunks).flat_map(|i| (0..blocks).map(move |j| (i, j))) {
                    ask(b.data.wrapping_add((i + 1) * BLOCK * b.k_stride), b.k_stride, b.len.div_ceil(LINE), j);
                    pack::<false>(rest(b, j * BLOCK, BLOCK), i * BLOCK, out.block(j, chunks).add(i * PARTS));
                }
            }
        }
    }

    /// Asks memory for the `nth` piece of a block of rows, `stride` apart and `lines` long. They need not be there.
    fn ask(rows: *const f32, stride: usize, lines: usize, nth: usize) {
        for line in nth * ASKED..(nth + 1) * ASKED {
            // SAFETY: nothing is read.
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(rows.wrapping_add(line / lines * stride + line % lines * LINE).cast())
            };
        }
    }

    /// Packs `b`'s columns and multiplies all rows with them.
    unsafe fn columns(left: &[Tile], a: Side, b: Side, c: Target) {
        let chunks = a.k.div_ceil(BLOCK);
        let mut kept = tiles(RIGHT.take(), b.len.div_ceil(BLOCK) * chunks * PARTS);
        let right = Tiles(kept.as_mut_ptr());
        let mut sums = [Tile([0; 512]); 4];
        // SAFETY: as `multiply`'s.
        unsafe {
            pack_right(b, right);
            configure();
            for i in 0..a.len.div_ceil(BLOCK) {
                for j in 0..b.len.div_ceil(BLOCK) {
                    block(left[i * chunks * PARTS..].as_ptr(), right.block(j, chunks), chunks, &mut sums);
                    let (rows, cols) = ((a.len - i * BLOCK).min(BLOCK), (b.len - j * BLOCK).min(BLOCK));
                    store(&sums, shifted(c, i * BLOCK, j * BLOCK), rows, cols);
                }
            }
            asm!("tilerelease", options(nostack, nomem));
        }
        RIGHT.set(kept);
    }

    /// All eight tiles 16 rows of 64 bytes.
    unsafe fn configure() {
        let mut config = Tile([0; 512]);
        config.0[0] = 1; // palette
        config.0[8..16].fill(64); // bytes a row
        config.0[24..28].fill(16 << 8 | 16); // rows, a byte each
        // SAFETY: 64 bytes in the format of the instruction.
        unsafe { asm!("ldtilecfg [{}]", in(reg) config.0.as_ptr(), options(nostack, readonly)) };
    }

    /// The sums of one block of the result, 32 × 32 as four tiles.
    ///
    /// Of a chunk's tiles, `left` and `right` hold h, m, l, twice 16 rows each. The order of the six products lets most of them
    /// keep a loaded pair: lh, mh, hh, hl, hm, mm.
    unsafe fn block(left: *const Tile, right: *const Tile, chunks: usize, sums: &mut [Tile; 4]) {
        // SAFETY: `chunks` times six tiles on each side; tiles are configured.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{a} + {row}*1 + 4096]", "tileloadd tmm6, [{b} + {row}*1]",
                "tileloadd tmm7, [{b} + {row}*1 + 1024]", "tileloadd tmm5, [{a} + {row}*1 + 5120]",
                "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{a} + {row}*1]", "tileloadd tmm5, [{a} + {row}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm6, [{b} + {row}*1 + 4096]", "tileloadd tmm7, [{b} + {row}*1 + 5120]",
                "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm6, [{b} + {row}*1 + 2048]", "tileloadd tmm7, [{b} + {row}*1 + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                "tileloadd tmm4, [{a} + {row}*1 + 2048]", "tileloadd tmm5, [{a} + {row}*1 + 3072]",
                "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 6144", "add {b}, 6144",
                "dec {n}", "jnz 2b",
                "tilestored [{c} + {row}*1], tmm0", "tilestored [{c} + {row}*1 + 1024], tmm1",
                "tilestored [{c} + {row}*1 + 2048], tmm2", "tilestored [{c} + {row}*1 + 3072], tmm3",
                a = inout(reg) left => _, b = inout(reg) right => _, n = inout(reg) chunks => _,
                c = in(reg) sums.as_mut_ptr(), row = in(reg) 64usize,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }

    /// Writes a block's sums where they belong: rows × cols of it.
    #[target_feature(enable = "avx512f")]
    unsafe fn store(sums: &[Tile; 4], c: Target, rows: usize, cols: usize) {
        let scale = _mm512_set1_ps(c.scale);
        for i in 0..rows {
            for half in 0..cols.div_ceil(16) {
                let mask = if cols - 16 * half >= 16 { !0 } else { (1u16 << (cols - 16 * half)) - 1 };
                // SAFETY: inside the sums; inside the target where the mask is set.
                unsafe {
                    let from = sums[i / 16 * 2 + half].0.as_ptr().cast::<f32>().add(i % 16 * 16);
                    let to = c.data.add(i * c.stride + 16 * half);
                    let mut x = _mm512_mul_ps(_mm512_load_ps(from), scale);
                    if c.accumulate {
                        x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(mask, to));
                    }
                    _mm512_mask_storeu_ps(to, mask, x);
                }
            }
        }
    }

    /// x = h + m + l, each with at most 8 significant bits: their upper halves are bf16.
    #[target_feature(enable = "avx512f")]
    fn split(x: __m512) -> [__m512i; 3] {
        let round = |x: __m512| {
            let up = _mm512_add_epi32(_mm512_castps_si512(x), _mm512_set1_epi32(0x8000));
            _mm512_and_si512(up, _mm512_set1_epi32(0xffff_0000_u32 as i32))
        };
        let h = round(x);
        let rest = _mm512_sub_ps(x, _mm512_castsi512_ps(h)); // exact, and NaN where x is
        let m = round(rest);
        let l = _mm512_sub_ps(rest, _mm512_castsi512_ps(m)); // exact, 8 bits
        [h, m, _mm512_castps_si512(l)]
    }

    /// Packs at most 32 rows (columns) of a side, the chunk of 32 numbers from `k`: six tiles. A left tile has a row in each of
    /// its rows, 32 numbers; a right tile has the columns side by side, two numbers of each in a row.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn pack<const LEFT: bool>(side: Side, k: usize, out: *mut Tile) {
        // upper halves of 16 + 16 numbers, in order
        const ORDER: [i16; 32] = {
            let mut order = [0; 32];
            let mut i = 0;
            while i < 32 {
                order[i] = (2 * i + 1) as i16;
                i += 1;
            }
            order
        };
        let mut copied = [0f32; 512];
        for half in 0..2 {
            // SAFETY: 16 rows of 32 numbers (left) or 32 rows of 16 numbers (right) lie there, `stride` apart; `out` has six tiles.
            unsafe {
                let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
                let (from, stride) = view::<LEFT>(side, 16 * half, k, &mut copied);
                for row in 0..16 {
                    let (x, y) = if LEFT {
                        (from.add(row * stride), from.add(row * stride + 16))
                    } else {
                        (from.add(2 * row * stride), from.add((2 * row + 1) * stride))
                    };
                    let (x, y) = (split(_mm512_loadu_ps(x)), split(_mm512_loadu_ps(y)));
                    for part in 0..3 {
                        let to = out.add(part * 2 + half).cast::<u16>().add(row * 32).cast();
                        let halves = if LEFT {
                            _mm512_permutex2var_epi16(x[part], order, y[part])
                        } else {
                            let upper = _mm512_and_si512(y[part], _mm512_set1_epi32(0xffff_0000_u32 as i32));
                            _mm512_or_si512(_mm512_srli_epi32::<16>(x[part]), upper)
                        };
                        _mm512_store_si512(to, halves);
                    }
                }
            }
        }
    }

    /// 16 rows from `first` and 32 numbers from `k`: where they lie as [`pack`] reads them, and the stride there. What lies
    /// otherwise, or reaches over the edge (where it is 0), is copied.
    #[target_feature(enable = "avx512f")]
    unsafe fn view<const LEFT: bool>(
        side: Side,
        first: usize,
        k: usize,
        copied: &mut [f32; 512],
    ) -> (*const f32, usize) {
        let from = side.data.wrapping_add(first * side.stride + k * side.k_stride);
        let (along, across) = if LEFT { (side.k_stride, side.stride) } else { (side.stride, side.k_stride) };
        let (len, depth) = (side.len.saturating_sub(first).min(16), (side.k - k).min(BLOCK));
        let full = len == 16 && depth == BLOCK;
        if full && along == 1 {
            return (from, across);
        }
        let width = if LEFT { 32 } else { 16 };
        if full && across == 1 {
            // SAFETY: two squares of 16 × 16 on both sides.
            unsafe {
                for square in 0..2 {
                    let (at, to) = if LEFT { (16 * along, 16) } else { (16, 16 * width) };
                    transpose(from.add(square * at), along, copied.as_mut_ptr().add(square * to), width);
                }
            }
            return (copied.as_ptr(), width);
        }
        copied.fill(0.0);
        for row in 0..len {
            for x in 0..depth {
                let at = if LEFT { row * width + x } else { x * width + row };
                // SAFETY: inside the side.
                copied[at] = unsafe { *from.add(row * side.stride + x * side.k_stride) };
            }
        }
        (copied.as_ptr(), width)
    }

    /// `to[j][i] = from[i][j]` for 16 × 16 numbers, rows of `from` and `to` so far apart.
    #[target_feature(enable = "avx512f")]
    unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        let mut x = [_mm512_setzero_ps(); 16];
        let mut y = x;
        // SAFETY: callers vouch for 16 rows of 16 numbers on both sides.
        unsafe {
            x.iter_mut().enumerate().for_each(|(i, x)| *x = _mm512_loadu_ps(from.add(i * from_stride)));
            let pd = |x: __m512| _mm512_castps_pd(x);
            let ps = |x: __m512d| _mm512_castpd_ps(x);
            for i in 0..8 {
                y[2 * i] = _mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]);
                y[2 * i + 1] = _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]);
            }
            for i in (0..16).step_by(4) {
                x[i] = ps(_mm512_unpacklo_pd(pd(y[i]), pd(y[i + 2])));
                x[i + 1] = ps(_mm512_unpackhi_pd(pd(y[i]), pd(y[i + 2])));
                x[i + 2] = ps(_mm512_unpacklo_pd(pd(y[i + 1]), pd(y[i + 3])));
                x[i + 3] = ps(_mm512_unpackhi_pd(pd(y[i + 1]), pd(y[i + 3])));
            }
            // x[4 g + j]: columns j, j + 4, j + 8, j + 12 of rows 4 g to 4 g + 3, in quarters
            for j in 0..4 {
                let (low, high) = (_mm512_shuffle_f32x4::<0x88>, _mm512_shuffle_f32x4::<0xdd>);
                let (a, b) = (low(x[j], x[4 + j]), low(x[8 + j], x[12 + j]));
                let (c, d) = (high(x[j], x[4 + j]), high(x[8 + j], x[12 + j]));
                y[j] = low(a, b);
                y[8 + j] = high(a, b);
                y[4 + j] = low(c, d);
                y[12 + j] = high(c, d);
            }
            y.iter().enumerate().for_each(|(i, y)| _mm512_storeu_ps(to.add(i * to_stride), *y));
        }
    }
}
