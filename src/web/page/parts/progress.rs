//! Progress of long work: a bar, the amount, the time left and a button to cancel.

use super::format;
use crate::web::page::parts::memo::memo;
use leptos::prelude::*;

/// Time left, from what was done so far; none as long as it cannot be estimated.
fn left(done: f64, of: f64, seconds: f64) -> Option<f64> {
    let known = done > 0.0 && of > done && seconds > 1.0;
    known.then(|| seconds * (of - done) / done)
}

/// `of` is 0 as long as the total is not known.
#[component]
pub fn Progress(
    #[prop(into)] label: Signal<String>,
    #[prop(into)] done: Signal<f64>,
    #[prop(into)] of: Signal<f64>,
    /// Whether the amounts are bytes.
    #[prop(optional)]
    bytes: bool,
    /// Seconds since it began.
    #[prop(optional, into)]
    seconds: Option<Signal<Option<f64>>>,
    #[prop(optional, into)] on_cancel: Option<Callback<()>>,
) -> impl IntoView {
    let amount = move |x: f64| if bytes { format::bytes(x as u64) } else { format::count(x as u64) };
    let amounts = move || match of.get() {
        0.0 => amount(done.get()),
        of => format!("{} of {}", amount(done.get()), amount(of)),
    };
    let time = move || {
        let left = left(done.get(), of.get(), seconds.and_then(|seconds| seconds.get())?)?;
        Some(format!("about {} left", format::seconds(left)))
    };
    // announced at every tenth only
    let spoken = memo(move || {
        let tenth = if of.get() > 0.0 { (10.0 * done.get() / of.get()).floor() as u32 } else { 0 };
        format!("{}: {} %", label.get(), 10 * tenth.min(10))
    });
    let part = move || if of.get() > 0.0 { (done.get() / of.get()).clamp(0.0, 1.0) } else { 0.0 };
    view! {
        <div class="progress">
            <p class="progress-head">
                <span class="progress-label">{move || label.get()}</span>
                <span class="progress-amount num">{amounts}</span>
                <span class="progress-left num">{time}</span>
            </p>
            <div class="progress-row">
                <div
                    class="progress-track"
                    role="progressbar"
                    aria-label=move || label.get()
                    aria-valuemin="0"
                    aria-valuemax="100"
                    aria-valuenow=move || (of.get() > 0.0).then(|| format!("{:.0}", 100.0 * part()))
                    aria-valuetext=amounts
                >
                    <span
                        class="progress-bar"
                        class:is-unknown=move || of.get() == 0.0
                        style:transform=move || format!("scaleX({:.4})", part())
                    ></span>
                </div>
                {on_cancel.map(|cancel| view! {
                    <button type="button" class="quiet" on:click=move |_| cancel.run(())>"Cancel"</button>
                })}
            </div>
            <span class="sr-only" aria-live="polite">{move || spoken.get()}</span>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::left;

    #[test]
    fn time_left_follows_the_pace() {
        assert_eq!(left(25.0, 100.0, 10.0), Some(30.0));
        assert_eq!((left(0.0, 100.0, 10.0), left(100.0, 100.0, 10.0), left(1.0, 100.0, 0.1)), (None, None, None));
    }
}
