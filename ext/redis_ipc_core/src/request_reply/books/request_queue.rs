//! The requests that this instance holds, between the reader of the inbox and the consumers.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use crate::request_reply::books::in_flight::{Claim, Stage};
use crate::request_reply::protocol::entry::Request;
use std::sync::Arc;
use std::time::Duration;

/// The requests that this instance holds.
pub type RequestQueue = WorkQueue<Claim>;

impl Held for Claim {
    type Key = StreamId;

    fn key(&self) -> StreamId {
        self.id()
    }

    fn is_answered(&self) -> bool {
        self.stage() == Stage::Answered
    }
}

impl RequestQueue {
    /// Queues requests as claims.
    pub fn push_all(&self, requests: impl IntoIterator<Item = Request>) {
        for request in requests {
            self.push(Arc::new(Claim::new(request)));
        }
    }

    /// Queues requests as claims, except the first one: that is for the calling consumer.
    pub fn push_but_first(&self, requests: Vec<Request>) -> Option<Arc<Claim>> {
        let mut requests = requests.into_iter();
        let first =
            requests.by_ref().map(|request| Arc::new(Claim::new(request))).find(|claim| self.hold(claim));
        self.push_all(requests);
        first
    }

    /// Holds a claim that was answered without a consumer, until the answer is out.
    pub fn adopt(&self, claim: Arc<Claim>) {
        claim.answer();
        self.hold_answered(claim);
    }

    /// The ids of claims taken more than `age` ago, whose lease needs renewing, and all that are held for an age of 0.
    pub fn older_than(&self, age: Duration) -> Vec<StreamId> {
        self.pick(|claim| (claim.taken.elapsed() >= age).then(|| claim.id()))
    }

    /// Lets go of what has been queued for more than `age` and returns it. Then there is no room for more but for
    /// consumers that wait, until handlers are quick again: else it would be taken over again by this very instance.
    pub fn remove_stuck(&self, age: Duration) -> Vec<Arc<Claim>> {
        let stuck = self.remove(|claim| claim.stage() == Stage::Queued && claim.taken.elapsed() >= age);
        if !stuck.is_empty() {
            self.note_stuck(age);
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request_reply::protocol::entry::Context;
    use std::time::Instant;

    fn claim(seq: u64) -> Arc<Claim> {
        Arc::new(Claim::new(Request {
            id: seq.to_string().into(),
            redis_id: StreamId { ms: 1, seq },
            instance_id: "i".into(),
            content: b"1".to_vec().into(),
            source_group: "a".into(),
            destination_group: "b".into(),
            reply_to: "s:replies:a:i".into(),
            ttl: 1,
            deliveries: 1,
            resent: false,
            retried: false,
            since: 1,
            due: Instant::now(),
            outlived_group: false,
            context: Context::default(),
        }))
    }

    #[test]
    fn only_what_is_stuck_in_the_queue_is_removed() {
        let queue = RequestQueue::new(1);
        queue.push(claim(1));
        queue.push(claim(2));
        queue.try_take().unwrap().start();
        assert!(queue.remove_stuck(Duration::from_secs(60)).is_empty());
        let stuck: Vec<_> = queue.remove_stuck(Duration::ZERO).iter().map(|claim| claim.id().seq).collect();
        assert_eq!(stuck, [2]);
        assert!(queue.try_take().is_none());
    }

    #[test]
    fn nothing_is_read_ahead_once_something_was_stuck() {
        let queue = RequestQueue::new(1);
        queue.note_run(Duration::from_millis(1));
        queue.push(claim(1));
        assert!(queue.remove_stuck(Duration::from_secs(60)).is_empty());
        assert_eq!(queue.room(), 4);
        queue.try_take().unwrap().start();
        queue.push(claim(2));
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(queue.remove_stuck(Duration::from_millis(10)).len(), 1);
        assert_eq!(queue.room(), 0, "what was given back is for others");
    }
}
