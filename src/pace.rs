//! Pause points: long computations await [`Pace::pause`] several times per second, so that the caller can stop them. In the
//! browser's worker, messages are handled during a pause.

use crate::error::Result;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// What the caller does at a pause point.
pub trait Pace {
    /// Returns `Err(Error::Stopped)` to end the work here.
    fn pause(&mut self) -> impl Future<Output = Result<()>>;
}

/// Never stops or waits.
#[derive(Debug, Default, Clone, Copy)]
pub struct NonStop;

impl Pace for NonStop {
    async fn pause(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Runs a future whose pause points never wait, such as all native ones.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(out) = future.as_mut().poll(&mut context) {
            return out;
        }
    }
}
