//! The requests this server holds: queued for its threads, running, or answered with the answer on its way.

use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use crate::json_rpc::in_flight::Job;
use std::collections::HashMap;
use std::sync::Arc;

/// The queue between the reader of the list and the threads that run the methods.
pub type RequestQueue = WorkQueue<Job>;

impl Held for Job {
    type Key = u64;

    fn key(&self) -> u64 {
        self.number
    }

    fn is_answered(&self) -> bool {
        self.is_answered()
    }
}

impl RequestQueue {
    /// Queues texts as requests; gives them back if the queue is closed.
    pub fn push_texts(&self, texts: Vec<Vec<u8>>, given_up: bool) -> Result<(), Vec<Arc<Job>>> {
        self.push_together(texts.into_iter().map(|text| Arc::new(Job::new(text, given_up))).collect())
    }

    /// How many are held that must be on the list of what this server holds: not those that are given up on, nor those
    /// whose removal may be under way.
    pub fn listed_count(&self) -> usize {
        self.pick(|job| (!job.given_up && !job.is_answered()).then_some(())).len()
    }

    /// How often each text is held that may be on that list.
    pub fn held_texts(&self) -> HashMap<Vec<u8>, usize> {
        let mut texts = HashMap::new();
        for text in self.pick(|job| (!job.given_up).then(|| job.text.clone())) {
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
        let job = queue.try_take().unwrap();
        assert!(job.answer().is_some());
        assert!(job.answer().is_none(), "it is answered once");
        assert_eq!(
            (queue.held_texts()[&b"a".to_vec()], queue.listed_count()),
            (2, 1),
            "it may be removed by now"
        );
        assert_eq!(queue.len(), 2);
        queue.finish(job.number);
        assert_eq!(queue.held_texts()[&b"a".to_vec()], 1);
    }

    #[test]
    fn closing_gives_back_what_was_not_started() {
        let queue = RequestQueue::new(1);
        queue.push_texts(vec![b"a".to_vec(), b"b".to_vec()], false).unwrap();
        let running = queue.try_take().unwrap();
        let unstarted: Vec<Vec<u8>> = queue.close().iter().map(|job| job.text.clone()).collect();
        assert_eq!((running.text.as_slice(), unstarted), (&b"a"[..], vec![b"b".to_vec()]));
        let unwanted = queue.push_texts(vec![b"c".to_vec()], false).unwrap_err();
        assert_eq!(unwanted[0].text, b"c");
        assert_eq!(queue.len(), 1);
    }
}
