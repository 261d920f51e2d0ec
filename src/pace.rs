//! Pause points: long computations await [`Pace::pause`] regularly, at least every fraction of a second, so that the caller can
//! stop them. Natively a pause only asks whether to stop; in the browser's worker it also lets messages be handled.

use crate::error::Result;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What the caller does at every pause point.
pub trait Pace {
    /// Returns `Err(Error::Stopped)` when the work shall end here.
    fn pause(&mut self) -> impl Future<Output = Result<()>>;
}

/// Never stops, never waits.
#[derive(Debug, Default, Clone, Copy)]
pub struct NonStop;

impl Pace for NonStop {
    async fn pause(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Runs a future whose pause points never wait, as all native ones.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(out) = future.as_mut().poll(&mut context) {
            return out;
        }
    }
}
