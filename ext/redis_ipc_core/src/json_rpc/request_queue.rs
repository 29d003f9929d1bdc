//! The requests that this server holds. They are queued, running, or answered with the answer not yet sent.

use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use crate::json_rpc::in_flight::InFlight;
use std::collections::HashMap;
use std::sync::Arc;

/// The queue between the reader of the list and the threads that run the methods.
pub type RequestQueue = WorkQueue<InFlight>;

impl Held for InFlight {
    type Key = u64;

    fn key(&self) -> u64 {
        self.number
    }

    fn is_answered(&self) -> bool {
        self.is_answered()
    }
}

impl RequestQueue {
    /// Queues texts as requests. Returns them if the queue is closed.
    pub fn push_texts(&self, texts: Vec<Vec<u8>>, given_up: bool) -> Result<(), Vec<Arc<InFlight>>> {
        self.push_together(texts.into_iter().map(|text| Arc::new(InFlight::new(text, given_up))).collect())
    }

    /// Returns how many held requests must be on this server's list. It leaves out those that were given up on, and
    /// those whose removal may be under way.
    pub fn listed_count(&self) -> usize {
        self.pick(|held| (!held.given_up && !held.is_answered()).then_some(())).len()
    }

    /// Returns how often each text is held that may be on this server's list.
    pub fn held_texts(&self) -> HashMap<Vec<u8>, usize> {
        let mut texts = HashMap::new();
        for text in self.pick(|held| (!held.given_up).then(|| held.text.clone())) {
            *texts.entry(text).or_default() += 1;
        }
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_held_from_push_to_release() {
        let queue = RequestQueue::new(1);
        queue.push_texts(vec![b"a".to_vec(), b"a".to_vec()], false).unwrap();
        queue.push_texts(vec![b"b".to_vec()], true).unwrap();
        assert_eq!(
            (queue.held_texts()[&b"a".to_vec()], queue.held_texts().len(), queue.listed_count()),
            (2, 1, 2)
        );
        let held = queue.try_take().unwrap();
        assert!(held.answer().is_some());
        assert!(held.answer().is_none(), "it is answered once");
        assert_eq!(
            (queue.held_texts()[&b"a".to_vec()], queue.listed_count()),
            (2, 1),
            "it may be removed by now"
        );
        assert_eq!(queue.len(), 2);
        queue.finish(held.number);
        assert_eq!(queue.held_texts()[&b"a".to_vec()], 1);
    }

    #[test]
    fn closing_gives_back_what_was_not_started() {
        let queue = RequestQueue::new(1);
        queue.push_texts(vec![b"a".to_vec(), b"b".to_vec()], false).unwrap();
        let running = queue.try_take().unwrap();
        let unstarted: Vec<Vec<u8>> = queue.close().iter().map(|held| held.text.clone()).collect();
        assert_eq!((running.text.as_slice(), unstarted), (&b"a"[..], vec![b"b".to_vec()]));
        let unwanted = queue.push_texts(vec![b"c".to_vec()], false).unwrap_err();
        assert_eq!(unwanted[0].text, b"c");
        assert_eq!(queue.len(), 1);
    }
}
