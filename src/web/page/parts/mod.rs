//! The page's parts: components that take protocol types and callbacks, and hold no state beyond their own. Which
//! chapter uses which, and what a callback asks of the worker, is the page's. Their looks are in `static/parts.css`.
//!
//! Every `Signal<T>` prop is `#[prop(into)]`: a value, a closure's `Signal::derive` or a signal; `?` marks an optional
//! one. Large things travel as `Arc`. A `RwSignal` prop is shared: the part reads it and writes it.
//!
//! ```text
//! meaning        enum Meaning { Policy, Reference, Reward, Value, Plain }: the four hues; .class() is "m-policy" …
//! format         fixed, signed, number, percent, probability, count, bytes, seconds, setting: numbers for people
//! sums           enum Quantity { Logprob, RefLogprob, Kl, Reward, Value, Advantage, Return, Ratio }
//!                  ALL, name(), slug(), from_slug(), meaning(), of(&Grids) -> &Grid
//!                Frame { grids: &Grids, config: &PpoConfig }.sum(quantity, row, column) -> Sum; .clipped(row, column)
//! stages          STAGES: [StageInfo; 12] (number, name, gives, does, chapter, meaning)
//!                Headlines = [Option<String>; 12]; headlines(&Step) -> Headlines; headline(&Stage) -> String
//!
//! <TokenStrip step: Signal<Arc<Step>> config: Signal<Arc<PpoConfig>> quantity: RwSignal<Quantity> row: RwSignal<usize>
//!             stack?: bool = true  choice?: bool = true  column?: RwSignal<usize>  label?: String />
//!     `row` is the batch's own number; the stack is sorted by score
//!
//! <LineChart title: String series: Signal<Vec<Series>> unit?: String at?: RwSignal<Option<f64>>
//!            level?: Signal<Option<f64>> />
//! <ChartTable title: String series: Signal<Vec<Series>> />
//!     Series { name, meaning, points: Vec<(f64, f64)> }; Series::of(&[Statistics], number, name, meaning)
//!     `at`: the step read off; give several charts the same signal and they move together
//! <Histogram title: String before: Signal<Vec<f64>> after?: Signal<Option<Vec<f64>>> />         values in 0..=1
//!
//! <Machine active: Signal<Option<u8>> headlines: Signal<Headlines> pointed: RwSignal<Option<u8>> on_open: Callback<u8>
//!          done?: Signal<u8>  compact?: bool = false />                     stages by number, 1 to 12
//! <StageView stage: Signal<Arc<Stage>> responses?: Signal<Option<Arc<Vec<Response>>>> />
//!
//! <WhatIf step: Signal<Arc<Step>> config: Signal<Arc<PpoConfig>> preset: Signal<Preset>
//!         result: Signal<Option<Arc<protocol::WhatIf>>> busy: Signal<bool>
//!         row: RwSignal<usize> on_change: Callback<(Preset, Map<String, Value>)> />
//!     the map holds only what differs from `config`, the other lab's settings too, so it goes over the run's own;
//!     called at every move of a slider, so drop what is overtaken
//!
//! <Settings corrected: Signal<Arc<PpoConfig>> published: Signal<Arc<PpoConfig>> preset: Signal<Preset>
//!           changed: Signal<Map<String, Value>> locked: Signal<bool>
//!           on_change: Callback<(Preset, Map<String, Value>)> />
//!     `changed`: what differs from the preset's settings; on_change gets only settings that are valid together
//!
//! <ScoreCard scored: Signal<Scored> text?: Signal<String> />
//! <WordBars words: Signal<Arc<Vec<Word>>> />
//! <CompareTable rows: Signal<Arc<Vec<EvaluatedRow>>> page_size?: usize = 10 />
//! <CompareNumbers numbers: Signal<Arc<Evaluation>> />
//! <ToxicityNumbers toxicity: Signal<Toxicity> />
//! <PromptTokens pieces: Signal<Arc<Vec<Piece>>> label?: String />
//! <NextTokens token: Signal<Token> />
//! <Progress label: Signal<String> done: Signal<f64> of: Signal<f64> bytes?: bool = false seconds?: Signal<Option<f64>>
//!           on_cancel?: Callback<()> />                      `seconds`: since it began, for the time left
//! ```

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
pub mod order;
pub mod progress;
pub mod score_card;
pub mod settings;
pub mod settings_edit;
pub mod stage_view;
pub mod stages;
pub mod sum_view;
pub mod sums;
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
