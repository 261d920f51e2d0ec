//! The page's parts: components that take protocol types and callbacks. They know nothing of the page's state; chapters
//! pass it in. Every `Signal<T>` prop is `#[prop(into)]`: a value or a signal. A `RwSignal` prop is shared: the part reads
//! and writes it. The styles are in `static/parts.css`.

pub mod axis;
pub mod chart;
pub mod compare_numbers;
pub mod compare_table;
pub mod diff;
pub mod expr;
pub mod format;
pub mod grid_view;
pub mod heat;
pub mod histogram;
pub mod keys;
pub mod machine;
pub mod meaning;
pub mod memo;
pub mod order;
pub mod pictures;
pub mod plot;
pub mod progress;
pub mod response_table;
pub mod score_card;
pub mod settings;
pub mod settings_edit;
pub mod stage_view;
pub mod stages;
pub mod sum_view;
pub mod sums;
pub mod table;
pub mod token_strip;
pub mod tokens;
pub mod what_if;

pub use chart::{ChartTable, LineChart, Series};
pub use compare_numbers::{CompareNumbers, ToxicityNumbers};
pub use compare_table::CompareTable;
pub use histogram::Histogram;
pub use machine::Machine;
pub use meaning::Meaning;
pub use progress::Progress;
pub use score_card::{ScoreCard, WordBars};
pub use settings::Settings;
pub use stage_view::StageView;
pub use stages::{Headlines, STAGES, headline, headlines};
pub use sums::Quantity;
pub use token_strip::TokenStrip;
pub use tokens::{NextTokens, PromptTokens};
pub use what_if::WhatIf;
