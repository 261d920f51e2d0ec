//! The page's parts in a real document, with the recorded run's numbers: texts, keys and announcements. Runs in a headless
//! browser: scripts/wasm-cargo.sh page test --profile page --test web. tests/page tests the whole page.

use detox_lab::protocol::Step;
use detox_lab::settings::{PpoConfig, Preset};
use detox_lab::web::page::parts::{
    ChartTable, CompareTable, LineChart, Meaning, Progress, Quantity, Series, Settings, TokenStrip, WhatIf,
};
use detox_lab::web::page::recorded::{Recorded, recorded};
use leptos::mount::mount_to;
use leptos::prelude::*;
use leptos::task::tick;
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use wasm_bindgen_test::*;
use web_sys::{Element, HtmlElement};

wasm_bindgen_test_configure!(run_in_browser);

#[wasm_bindgen(inline_js = "
export function press(at, key) { at.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true })); }
export function type(at, text) {
    at.value = text;
    for (const kind of ['input', 'change']) at.dispatchEvent(new Event(kind, { bubbles: true }));
}
")]
extern "C" {
    fn press(at: &Element, key: &str);
    #[wasm_bindgen(js_name = type)]
    fn put(at: &Element, text: &str);
}

/// A single part in the document, until it is dropped.
struct Shown {
    place: HtmlElement,
    _mounted: Box<dyn std::any::Any>,
}

impl Shown {
    async fn new<V: IntoView + 'static>(part: impl FnOnce() -> V + 'static) -> Self {
        let place: HtmlElement = document().create_element("div").unwrap().unchecked_into();
        document().body().unwrap().append_child(&place).unwrap();
        let mounted = Box::new(mount_to(place.clone(), part));
        tick().await;
        Self { place, _mounted: mounted }
    }

    fn all(&self, selector: &str) -> Vec<Element> {
        let found = self.place.query_selector_all(selector).unwrap();
        (0..found.length()).map(|i| found.item(i).unwrap().unchecked_into()).collect()
    }

    fn one(&self, selector: &str) -> Element {
        self.place.query_selector(selector).unwrap().unwrap_or_else(|| panic!("no {selector}"))
    }

    fn text(&self, selector: &str) -> String {
        self.one(selector).text_content().unwrap()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.place.remove();
    }
}

fn story() -> Recorded {
    recorded(include_str!("../../static/recorded/page.json")).unwrap()
}

async fn strip(step: Arc<Step>, config: Arc<PpoConfig>) -> (Shown, RwSignal<usize>, RwSignal<Quantity>) {
    let (row, quantity) = (RwSignal::new(0), RwSignal::new(Quantity::Advantage));
    let part = move || {
        let (step, config) = (Signal::derive(move || step.clone()), Signal::derive(move || config.clone()));
        view! { <TokenStrip step config quantity row /> }
    };
    (Shown::new(part).await, row, quantity)
}

#[wasm_bindgen_test]
async fn the_token_strip_follows_the_keys_and_shows_the_sum() {
    let story = story();
    let step = Arc::new(story.steps[0].clone());
    let (shown, row, quantity) = strip(step.clone(), Arc::new((*story.run.config).clone())).await;
    let tokens = step.responses[0].pieces.len();
    assert_eq!(shown.all(".cells [role=option]:not([hidden])").len(), tokens);
    assert_eq!(shown.all(".cells [tabindex='0']").len(), 1, "one stop for the Tab key");
    let first = shown.text(".sum");

    press(&shown.one(".cells"), "End");
    tick().await;
    let chosen = shown.all(".cells [aria-selected=true]");
    assert_eq!(
        chosen.iter().map(|c| c.get_attribute("data-item").unwrap()).collect::<Vec<_>>(),
        [(tokens - 1).to_string()]
    );
    assert_ne!(shown.text(".sum"), first);

    let before = shown.text(".cells .cell-number");
    quantity.set(Quantity::Logprob);
    tick().await;
    assert_ne!(shown.text(".cells .cell-number"), before);
    let logprob = step.grids.old_logprobs.row(0)[0];
    assert_eq!(shown.text(".cells .cell-number").replace('−', "-"), format!("{logprob:.2}"));

    press(&shown.one(".stack"), "Home");
    tick().await;
    let best = (0..step.rewards.len()).max_by(|a, b| step.rewards[*a].total_cmp(&step.rewards[*b])).unwrap();
    assert_eq!(row.get_untracked(), best, "the stack begins with the highest score");
}

#[wasm_bindgen_test]
async fn a_chart_can_be_read_with_keys_and_as_a_table() {
    let metrics = story().run.metrics;
    let series = vec![Series::of(&metrics, |s| s.score, "mean score", Meaning::Reward)];
    let table = series.clone();
    let shown = Shown::new(move || {
        view! { <LineChart title="Mean score" series=Signal::stored(series) /> <ChartTable title="Mean score" series=Signal::stored(table) /> }
    })
    .await;
    assert_eq!(shown.all("tbody tr").len(), metrics.len());
    let plot = shown.one(".chart-plot");
    assert_eq!(plot.get_attribute("aria-valuenow").unwrap(), metrics.len().to_string(), "the newest step");
    press(&plot, "Home");
    tick().await;
    assert_eq!(plot.get_attribute("aria-valuenow").unwrap(), "1");
    assert!(plot.get_attribute("aria-valuetext").unwrap().starts_with("step 1: mean score"));
    // with every second line, the polyline would have half of the points
    assert_eq!(shown.one("polyline").get_attribute("points").unwrap().split(' ').count(), metrics.len());
}

#[wasm_bindgen_test]
async fn a_setting_says_what_is_wrong_and_passes_on_only_valid_values() {
    let told: Arc<Mutex<Vec<Map<String, Value>>>> = Arc::default();
    let hear = told.clone();
    let changed = RwSignal::new(Map::new());
    let shown = Shown::new(move || {
        let config = |preset| Signal::derive(move || Arc::new(PpoConfig::preset(preset)));
        let on_change = Callback::new(move |(_, map): (Preset, Map<String, Value>)| {
            hear.lock().unwrap().push(map.clone());
            changed.set(map);
        });
        view! {
            <Settings
                corrected=config(Preset::Corrected) published=config(Preset::Published)
                preset=Signal::stored(Preset::Corrected) changed on_change
            />
        }
    })
    .await;
    let field = shown.one("input[id^=gamma]");
    put(&field, "1.5");
    tick().await;
    assert_eq!(field.get_attribute("aria-invalid").as_deref(), Some("true"));
    let described = field.get_attribute("aria-describedby").unwrap();
    let said = described.split(' ').map(|id| shown.text(&format!("[id='{id}']"))).collect::<String>();
    assert!(said.contains("from 0 to 1"), "{said}");
    assert!(told.lock().unwrap().is_empty());

    put(&field, "0.9");
    tick().await;
    assert_eq!(field.get_attribute("aria-invalid"), None);
    assert_eq!(*told.lock().unwrap(), [json!({"gamma": 0.9}).as_object().unwrap().clone()]);
    assert!(shown.text(".settings-bar").contains("1 setting changed"));
}

#[wasm_bindgen_test]
async fn what_if_shows_only_differences() {
    let story = story();
    let told: Arc<Mutex<Vec<Map<String, Value>>>> = Arc::default();
    let hear = told.clone();
    let shown = Shown::new(move || {
        let (step, config) = (Arc::new(story.steps[0].clone()), Arc::new((*story.run.config).clone()));
        let (step, config) = (Signal::derive(move || step.clone()), Signal::derive(move || config.clone()));
        let on_change = Callback::new(move |(_, map): (Preset, Map<String, Value>)| hear.lock().unwrap().push(map));
        view! {
            <WhatIf
                step config preset=Signal::stored(Preset::Corrected) result=Signal::derive(|| None)
                busy=Signal::stored(false) row=RwSignal::new(0) on_change
            />
        }
    })
    .await;
    put(&shown.one("input[type=range]"), "1");
    tick().await;
    assert_eq!(told.lock().unwrap().last().unwrap(), json!({"kl_coef": 1.0}).as_object().unwrap());
}

#[wasm_bindgen_test]
async fn the_table_marks_added_and_removed_words() {
    let rows = Arc::new(story().evaluated.rows);
    let (differ, of) = (rows.iter().filter(|r| r.before != r.after).count(), rows.len());
    assert!(differ > 20, "a recorded run that changed something");
    let shown = Shown::new(move || view! { <CompareTable rows=Signal::derive(move || rows.clone()) /> }).await;
    assert_eq!(shown.all(".compare-row").len(), 10);
    assert!(!shown.all("ins").is_empty() && !shown.all("del").is_empty());
    assert!(shown.text(".compare-pages").contains(&of.to_string()));
    let first = shown.text(".compare-id");
    let next = shown.all(".compare-pages button").pop().unwrap();
    next.unchecked_into::<HtmlElement>().click();
    tick().await;
    assert_ne!(shown.text(".compare-id"), first);
    put(&shown.one("select"), "lost");
    tick().await;
    assert!(shown.text(".compare-change").starts_with("▼ score −"), "{}", shown.text(".compare-change"));
}

#[wasm_bindgen_test]
async fn progress_is_announced_and_can_be_cancelled() {
    let (done, cancelled) = (RwSignal::new(0.0), RwSignal::new(false));
    let shown = Shown::new(move || {
        let on_cancel = Callback::new(move |()| cancelled.set(true));
        view! { <Progress label=Signal::stored("Loading".to_owned()) done of=Signal::stored(4.0e6) bytes=true on_cancel /> }
    })
    .await;
    done.set(1.0e6);
    tick().await;
    let bar = shown.one("[role=progressbar]");
    assert_eq!(bar.get_attribute("aria-valuenow").as_deref(), Some("25"));
    assert_eq!(bar.get_attribute("aria-valuetext").unwrap().replace('\u{a0}', " "), "1.0 MB of 4.0 MB");
    shown.one("button").unchecked_into::<HtmlElement>().click();
    assert!(cancelled.get_untracked());
}
