//! Where long work lets its door breathe. Work is `async` and awaits [`Pace::pause`] between units of at most a
//! fraction of a second: natively that only asks whether to stop, in a browser's worker it lets messages in.

use crate::error::Result;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A door's say at every pause point.
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

/// Runs a future whose pause points never wait (every native door).
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(out) = future.as_mut().poll(&mut context) {
            return out;
        }
    }
}
