//! The page in an address: chapter, seed, settings, selected row.
