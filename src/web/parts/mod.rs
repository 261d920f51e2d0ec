//! The page's parts: one component per file, fed by props.
