//! The open requests; each ends exactly once. Plain Rust: `client` sends and receives, and `state` takes the answers.

use crate::error::Error;
use crate::protocol::{Answer, Ask, Event, Id, Message};
use std::collections::BTreeMap;

/// How a request ended: its answer, with the bytes beside it, or an error.
pub type End = Result<(Answer, Option<Vec<u8>>), Error>;

/// Called with every event.
pub type OnEvent = Box<dyn FnMut(&Event)>;

/// Called once.
pub type OnEnd = Box<dyn FnOnce(&End)>;

/// A request that has not ended.
pub struct OpenRequest {
    pub ask: Ask,
    /// Not sent yet, because the worker has not sent its first message; the bytes beside the message.
    unsent: Option<Option<Vec<u8>>>,
    /// Asked to stop, but not ended yet.
    pub stopping: bool,
    /// A request that it needs has failed, which was reported: its own error now counts as stopped.
    in_vain: bool,
    on_event: Option<OnEvent>,
    on_end: Option<OnEnd>,
}

/// The open requests.
#[derive(Default)]
pub struct Requests {
    last: Id,
    open: BTreeMap<Id, OpenRequest>,
    listening: bool,
}

/// A message to post now, with the bytes beside it.
pub type Post = (Message, Option<Vec<u8>>);

impl Requests {
    /// A new request, and what to post for it: nothing before the worker's first message.
    pub fn ask(
        &mut self,
        ask: Ask,
        bytes: Option<Vec<u8>>,
        on_event: Option<OnEvent>,
        on_end: Option<OnEnd>,
    ) -> (Id, Option<Post>) {
        self.last += 1;
        let id = self.last;
        let post = self.listening.then(|| (Message::Request { id, ask: ask.clone() }, bytes.clone()));
        let unsent = (!self.listening).then_some(bytes);
        self.open.insert(id, OpenRequest { ask, unsent, stopping: false, in_vain: false, on_event, on_end });
        (id, post)
    }

    /// The worker listens: returns everything that waited, in order.
    pub fn ready(&mut self) -> Vec<Post> {
        self.listening = true;
        let waiting = self.open.iter_mut().filter_map(|(&id, open)| Some((id, open.ask.clone(), open.unsent.take()?)));
        waiting.map(|(id, ask, bytes)| (Message::Request { id, ask }, bytes)).collect()
    }

    /// Takes a request's listener out, so that it can send requests itself; [`Self::listen`] puts it back.
    pub fn listener(&mut self, id: Id) -> Option<OnEvent> {
        self.open.get_mut(&id)?.on_event.take()
    }

    /// Puts a listener back, if its request is still open.
    pub fn listen(&mut self, id: Id, on_event: OnEvent) {
        if let Some(open) = self.open.get_mut(&id) {
            open.on_event = Some(on_event);
        }
    }

    /// Closes a request, and returns how it ended for the page. `None` if it was not open: a second end, or one from an
    /// earlier worker.
    pub fn end(&mut self, id: Id, end: End) -> Option<(Ask, End, Option<OnEnd>)> {
        let open = self.open.remove(&id)?;
        let end = if open.in_vain { end.map_err(|_| Error::Stopped) } else { end };
        Some((open.ask, end, open.on_end))
    }

    /// A request has failed: later requests that need its result are to be stopped. Returns their ids.
    pub fn failed(&mut self, id: Id, ask: &Ask) -> Vec<Id> {
        let needs = |other: &Ask| match ask {
            Ask::Load => !matches!(other, Ask::Load | Ask::Forget),
            Ask::Start { .. } | Ask::Restore | Ask::Open { .. } => matches!(other, Ask::Train { .. }),
            _ => false,
        };
        let behind = self.open.range_mut(id..).filter(|(_, open)| needs(&open.ask));
        let stop = |(&id, open): (&Id, &mut OpenRequest)| {
            (open.stopping, open.in_vain) = (true, true);
            id
        };
        behind.map(stop).collect()
    }

    /// Marks a request as stopping; false if it has ended or was never sent (then call [`Self::end`]).
    pub fn stop(&mut self, id: Id) -> bool {
        let Some(open) = self.open.get_mut(&id) else { return false };
        open.stopping = true;
        open.unsent.is_none()
    }

    /// The worker has stopped: returns every open request, oldest first, to be ended as failed.
    pub fn lost(&mut self) -> Vec<(Id, Ask, Option<OnEnd>)> {
        self.listening = false;
        std::mem::take(&mut self.open).into_iter().map(|(id, open)| (id, open.ask, open.on_end)).collect()
    }

    /// The open requests, oldest first; the first is being computed.
    pub fn open(&self) -> impl Iterator<Item = (Id, &OpenRequest)> {
        self.open.iter().map(|(&id, open)| (id, open))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    fn counted(count: &Rc<Cell<u32>>) -> Option<OnEnd> {
        let count = count.clone();
        Some(Box::new(move |_| count.set(count.get() + 1)))
    }

    #[test]
    fn nothing_is_posted_before_the_worker_spoke_and_then_in_order() {
        let mut requests = Requests::default();
        assert!(requests.ask(Ask::Load, None, None, None).1.is_none());
        assert!(requests.ask(Ask::Restore, Some(vec![1]), None, None).1.is_none());
        let posts = requests.ready();
        assert_eq!(posts[0], (Message::Request { id: 1, ask: Ask::Load }, None));
        assert_eq!(posts[1], (Message::Request { id: 2, ask: Ask::Restore }, Some(vec![1])));
        assert!(requests.ready().is_empty(), "nothing twice");
        let (id, post) = requests.ask(Ask::Forget, None, None, None);
        assert_eq!(post, Some((Message::Request { id, ask: Ask::Forget }, None)));
    }

    #[test]
    fn a_request_ends_once() {
        let mut requests = Requests::default();
        let count = Rc::new(Cell::new(0));
        let (id, _) = requests.ask(Ask::Load, None, None, counted(&count));
        for _ in 0..2 {
            if let Some((_, how, Some(end))) = requests.end(id, Err(Error::Stopped)) {
                end(&how);
            }
        }
        assert_eq!(count.get(), 1);
        assert!(requests.end(77, Err(Error::Stopped)).is_none());
    }

    #[test]
    fn a_lost_worker_ends_every_request_and_late_replies_end_none() {
        let mut requests = Requests::default();
        requests.ready();
        let count = Rc::new(Cell::new(0));
        let ids: Vec<Id> = (0..3).map(|_| requests.ask(Ask::Load, None, None, counted(&count)).0).collect();
        requests.end(ids[0], Err(Error::Stopped));
        for (_, _, end) in requests.lost() {
            end.unwrap()(&Err(Error::Stopped));
        }
        assert_eq!(count.get(), 2);
        assert!(requests.end(ids[1], Err(Error::Stopped)).is_none());
        let (next, post) = requests.ask(Ask::Restore, None, None, None);
        assert!(next > ids[2], "numbers are never used again");
        assert!(post.is_none(), "the new worker has not spoken yet");
    }

    #[test]
    fn one_fault_is_one_message() {
        let mut requests = Requests::default();
        requests.ready();
        let mut ask = |ask| requests.ask(ask, None, None, None).0;
        let words = |text: &str| Ask::Words { text: text.into() };
        let [before, load, forget, train, behind] =
            [words("a"), Ask::Load, Ask::Forget, Ask::Train { steps: 1 }, words("b")].map(&mut ask);
        let fault = || Err(Error::input("the server answered 404", ""));
        assert_eq!(requests.end(load, fault()).unwrap().1, fault());
        assert_eq!(requests.failed(load, &Ask::Load), [train, behind]);
        assert_eq!(requests.end(train, fault()).unwrap().1, Err(Error::Stopped));
        assert_eq!(requests.end(behind, Ok((Answer::Nothing, None))).unwrap().1, Ok((Answer::Nothing, None)));
        assert_eq!(requests.end(forget, fault()).unwrap().1, fault());
        assert_eq!(requests.end(before, fault()).unwrap().1, fault());
    }

    #[test]
    fn stopping_what_was_not_sent_needs_no_worker() {
        let mut requests = Requests::default();
        let (unsent, _) = requests.ask(Ask::Load, None, None, None);
        assert!(!requests.stop(unsent));
        requests.ready();
        assert!(requests.stop(unsent));
        assert!(requests.open().next().unwrap().1.stopping);
        assert!(!requests.stop(9));
    }
}
