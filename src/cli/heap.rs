//! The native program's memory: large blocks lie in pages of 2 MB, and what is freed is kept for the next block. A PPO step asks
//! for the same gigabytes again and again; the system's allocator gives them back each time, gets them anew in pages of 4 KB, and
//! a product reads every weight through those. Where blocks lie within the space is the crate dlmalloc's; small blocks, and all
//! of them on other systems, stay with the system's allocator. A binary takes it as its `#[global_allocator]`.
#[cfg(target_os = "linux")]
use std::alloc::{GlobalAlloc, Layout, System};

/// The allocator.
#[cfg(target_os = "linux")]
pub struct Heap;
#[cfg(not(target_os = "linux"))]
pub use std::alloc::System as Heap;

/// Bytes from which on a block is large.
#[cfg(target_os = "linux")]
const LARGE: usize = 1 << 14;

#[cfg(target_os = "linux")]
mod space {
    use dlmalloc::{Allocator, Dlmalloc};
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// What the space grows by: whole pages of 2 MB.
    const PIECE: usize = 32 << 20;
    const PAGE: usize = 2 << 20;

    static BLOCKS: Mutex<Dlmalloc<Space>> = Mutex::new(
        const {
            let mut blocks = Dlmalloc::new_with_allocator(Space);
            assert!(blocks.set_granularity(PIECE));
            blocks.set_max_release_check_rate(0); // nothing is ever released
            blocks
        },
    );
    /// The space's addresses: START to GROWN is in use or kept, up to END it is reserved. All 0 before it is.
    static START: AtomicUsize = AtomicUsize::new(0);
    static GROWN: AtomicUsize = AtomicUsize::new(0);
    static END: AtomicUsize = AtomicUsize::new(0);

    pub fn blocks() -> MutexGuard<'static, Dlmalloc<Space>> {
        BLOCKS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does this block lie in the space? (Of one that does, the addresses were known before it was handed out.)
    pub fn holds(block: *mut u8) -> bool {
        (START.load(Relaxed)..END.load(Relaxed)).contains(&(block as usize))
    }

    /// Addresses for as much as the machine has, which take no memory yet. Under the lock.
    fn reserve() -> Option<()> {
        // SAFETY: asks for numbers.
        let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
        let size = usize::try_from(pages).ok()?.checked_mul(usize::try_from(page).ok()?)? / PIECE * PIECE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, away from all others.
        let at = unsafe { libc::mmap(null_mut(), size + PAGE, libc::PROT_NONE, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return None;
        }
        let start = (at as usize).next_multiple_of(PAGE);
        // SAFETY: of that mapping. A system without such pages says no, and nothing is lost.
        unsafe { libc::madvise(start as *mut _, size, libc::MADV_HUGEPAGE) };
        START.store(start, Relaxed);
        GROWN.store(start, Relaxed);
        END.store(start + size, Relaxed);
        Some(())
    }

    /// The system below dlmalloc: memory that grows at its end and is never given back.
    pub struct Space;

    // SAFETY: every piece is new, its own, and zero.
    unsafe impl Allocator for Space {
        fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
            let none = (null_mut(), 0, 0);
            if START.load(Relaxed) == 0 && reserve().is_none() {
                return none;
            }
            let at = GROWN.load(Relaxed);
            let size = size.next_multiple_of(PIECE);
            // SAFETY: inside the reserved addresses, where nothing lies yet.
            if size > END.load(Relaxed) - at
                || unsafe { libc::mprotect(at as *mut _, size, libc::PROT_READ | libc::PROT_WRITE) } != 0
            {
                return none;
            }
            GROWN.store(at + size, Relaxed);
            (at as *mut u8, size, 0)
        }

        fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
            null_mut()
        }

        fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
            false
        }

        fn free(&self, _: *mut u8, _: usize) -> bool {
            false
        }

        fn can_release_part(&self, _: u32) -> bool {
            false
        }

        fn allocates_zeros(&self) -> bool {
            true
        }

        fn page_size(&self) -> usize {
            PAGE
        }
    }
}

// SAFETY: a block is dlmalloc's where its address lies in the space, and the system's elsewhere; both keep `GlobalAlloc`'s promises.
#[cfg(target_os = "linux")]
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's word, here and below.
        unsafe {
            let block = large(layout);
            if block.is_null() { System.alloc(layout) } else { block }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe {
            let block = large(layout);
            if block.is_null() {
                return System.alloc_zeroed(layout);
            }
            block.write_bytes(0, layout.size());
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe {
            if space::holds(block) {
                space::blocks().free(block, layout.size(), layout.align());
            } else {
                System.dealloc(block, layout);
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe {
            match (space::holds(block), size >= LARGE) {
                (false, false) => return System.realloc(block, layout, size),
                (true, true) => {
                    let grown = space::blocks().realloc(block, layout.size(), layout.align(), size);
                    if !grown.is_null() {
                        return grown;
                    }
                }
                _ => {}
            }
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                block.copy_to_nonoverlapping(moved, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// A large block of the space; null where the layout is small or the space is full.
#[cfg(target_os = "linux")]
unsafe fn large(layout: Layout) -> *mut u8 {
    if layout.size() < LARGE {
        return std::ptr::null_mut();
    }
    // SAFETY: the caller's word.
    unsafe { space::blocks().malloc(layout.size(), layout.align()) }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).unwrap()
    }

    /// A block full of its own number.
    struct Block(*mut u8, usize, u8);

    impl Block {
        fn check(&self, len: usize) {
            // SAFETY: `len` bytes of this block were written.
            let bytes = unsafe { std::slice::from_raw_parts(self.0, len) };
            assert!(bytes.iter().all(|byte| *byte == self.2), "block {} of {} bytes was overwritten", self.2, self.1);
            assert!((self.0 as usize).is_multiple_of(64));
            assert_eq!(space::holds(self.0), self.1 >= LARGE, "{} bytes", self.1);
        }

        fn fill(&self) {
            // SAFETY: the block's own bytes.
            unsafe { self.0.write_bytes(self.2, self.1) };
        }
    }

    #[test]
    fn blocks_of_every_size_keep_what_is_in_them_on_all_threads() {
        let work = |seed: u64| {
            let (mut state, mut blocks) = (seed, Vec::<Block>::new());
            let mut draw = |n: usize| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33) as usize % n
            };
            for round in 0..3000 {
                let size = 1 << draw(21);
                let size = size + draw(size);
                if blocks.len() < 20 {
                    let zeroed = draw(2) == 0;
                    // SAFETY: no layout is empty.
                    let new =
                        unsafe { if zeroed { Heap.alloc_zeroed(layout(size)) } else { Heap.alloc(layout(size)) } };
                    if zeroed {
                        Block(new, size, 0).check(size);
                    }
                    blocks.push(Block(new, size, round as u8));
                } else {
                    let at = draw(blocks.len());
                    let Block(old, had, number) = blocks[at];
                    blocks[at].check(had);
                    // SAFETY: the block and its layout are its own.
                    unsafe {
                        if draw(2) == 0 {
                            Heap.dealloc(old, layout(had));
                            blocks.swap_remove(at);
                            continue;
                        }
                        blocks[at] = Block(Heap.realloc(old, layout(had), size), size, number);
                    }
                    blocks[at].check(had.min(size));
                }
                blocks.last().unwrap().fill();
                blocks.iter().for_each(|block| block.fill());
            }
            // SAFETY: as above.
            blocks.into_iter().for_each(|Block(at, size, _)| unsafe { Heap.dealloc(at, layout(size)) });
        };
        std::thread::scope(|scope| (1..=3).for_each(|seed| drop(scope.spawn(move || work(seed)))));
    }

    #[test]
    fn what_is_freed_is_used_again_and_too_much_is_refused() {
        let large = layout(100 << 20);
        // SAFETY: blocks and layouts belong together.
        unsafe {
            let first = Heap.alloc(large);
            Heap.dealloc(first, large);
            let again = Heap.alloc(layout(90 << 20));
            assert!(space::holds(again), "a smaller block lies in the space too");
            Heap.dealloc(again, layout(90 << 20));
            assert!(Heap.alloc(layout(1 << 46)).is_null());
        }
    }
}
