//! What the page holds, and how replies change it.
