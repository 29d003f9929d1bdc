//! The requests that this instance holds, between the reader of the inbox and the consumers.

use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::group_consumer::admission::HeldEntry;
use crate::foundation::runtime::work_queue::{Held, WorkQueue};
use crate::request_reply::tracking::in_flight::{InFlight, Stage};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The requests that this instance holds.
pub type RequestQueue = WorkQueue<InFlight>;

impl Held for InFlight {
    type Key = StreamId;

    fn key(&self) -> StreamId {
        self.id()
    }

    fn is_answered(&self) -> bool {
        self.stage() == Stage::Answered
    }
}

impl HeldEntry for InFlight {
    fn deliveries(&self) -> u32 {
        self.request.deliveries
    }

    fn taken(&self) -> Instant {
        self.taken
    }
}

impl RequestQueue {
    /// Holds a request that was answered without a consumer, until the answer is sent.
    pub fn adopt(&self, held: Arc<InFlight>) {
        held.answer();
        self.hold_answered(held);
    }

    /// Removes the requests that have been queued for more than `age` and returns them. Then only waiting consumers
    /// are room for more, until handlers are quick again. Otherwise this very instance would take them again.
    pub fn remove_stuck(&self, age: Duration) -> Vec<Arc<InFlight>> {
        let stuck = self.remove(|held| held.stage() == Stage::Queued && held.taken.elapsed() >= age);
        if !stuck.is_empty() {
            self.note_stuck(age);
        }
        stuck
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::runtime::handling::Run;
    use crate::request_reply::protocol::entry::{Context, Request};

    fn held(seq: u64) -> Arc<InFlight> {
        Arc::new(InFlight::new(Request {
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

    fn start(queue: &RequestQueue) {
        queue.try_take().unwrap().start(
            &Arc::default(),
            Duration::ZERO,
            Run::new(Instant::now(), Duration::MAX),
        );
    }

    #[test]
    fn only_what_is_stuck_in_the_queue_is_removed() {
        let queue = RequestQueue::new(1);
        queue.push(held(1));
        queue.push(held(2));
        start(&queue);
        assert!(queue.remove_stuck(Duration::from_secs(60)).is_empty());
        let stuck: Vec<_> = queue.remove_stuck(Duration::ZERO).iter().map(|held| held.id().seq).collect();
        assert_eq!(stuck, [2]);
        assert!(queue.try_take().is_none());
    }

    #[test]
    fn nothing_is_read_ahead_once_something_was_stuck() {
        let queue = RequestQueue::new(1);
        queue.note_run(Duration::from_millis(1));
        queue.push(held(1));
        assert!(queue.remove_stuck(Duration::from_secs(60)).is_empty());
        assert_eq!(queue.room(), 4);
        start(&queue);
        queue.push(held(2));
        std::thread::sleep(Duration::from_millis(10));
        assert_eq!(queue.remove_stuck(Duration::from_millis(10)).len(), 1);
        assert_eq!(queue.room(), 0, "what was given back is for others");
    }
}
