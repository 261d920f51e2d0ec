//! The messages from the page: requests wait here for their turn; the other messages apply at once.

use crate::protocol::{Ask, Id, Message};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// A request that waits, with the bytes that came beside it.
pub struct Waiting {
    pub id: Id,
    pub ask: Ask,
    pub bytes: Option<Vec<u8>>,
}

#[derive(Default)]
struct Inside {
    waiting: VecDeque<Waiting>,
    stopped: BTreeSet<Id>,
    /// Requests that may continue from the stage at which they wait.
    going: BTreeSet<Id>,
    stage_by_stage: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// Shared by the message listener and the session.
#[derive(Clone, Default)]
pub struct Inbox(Rc<RefCell<Inside>>);

impl Inbox {
    /// Receives a message.
    pub fn push(&self, message: Message, bytes: Option<Vec<u8>>) {
        let mut inside = self.0.borrow_mut();
        match message {
            Message::Request { id, ask } => inside.waiting.push_back(Waiting { id, ask, bytes }),
            Message::Stop(id) => drop(inside.stopped.insert(id)),
            Message::Go(id) => drop(inside.going.insert(id)),
            Message::StageByStage(on) => inside.stage_by_stage = on,
        }
        let waker = inside.waker.take();
        drop(inside);
        waker.into_iter().for_each(Waker::wake);
    }

    /// No more messages will come; the work ends after the present ones.
    pub fn close(&self) {
        self.0.borrow_mut().closed = true;
    }

    /// The next request, or none after the inbox was closed.
    pub async fn next(&self) -> Option<Waiting> {
        self.when(|inside| match inside.waiting.pop_front() {
            None if !inside.closed => None,
            other => Some(other),
        })
        .await
    }

    /// Whether the page asked this request to stop.
    pub fn stopped(&self, id: Id) -> bool {
        self.0.borrow().stopped.contains(&id)
    }

    /// Whether work waits at every stage.
    pub fn stage_by_stage(&self) -> bool {
        self.0.borrow().stage_by_stage
    }

    /// Waits until the request may continue: after a go or stop message, or when it no longer waits at every stage.
    pub async fn leave_stage(&self, id: Id) {
        self.when(|inside| {
            (inside.going.remove(&id) || inside.stopped.contains(&id) || !inside.stage_by_stage).then_some(())
        })
        .await;
    }

    /// Forgets the messages about a request that has ended.
    pub fn ended(&self, id: Id) {
        let mut inside = self.0.borrow_mut();
        inside.stopped.remove(&id);
        inside.going.remove(&id);
    }

    async fn when<T>(&self, mut ready: impl FnMut(&mut Inside) -> Option<T>) -> T {
        poll_fn(|context| {
            let mut inside = self.0.borrow_mut();
            match ready(&mut inside) {
                Some(out) => Poll::Ready(out),
                None => {
                    inside.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}
