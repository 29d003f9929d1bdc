//! The acknowledgements of events. They are written apart from the reads, and one command carries all of a batch.

use crate::error::Error;
use crate::events::common::in_flight::InFlight;
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::client_name::Purpose;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::pipeline::carried::{Carried, Context, Delivery, Leftover, Tail, Writing};
use crate::foundation::redis::pipeline::encoder::Encoder;
use crate::foundation::redis::pipeline::outgoing::Outbound;
use crate::foundation::redis::pipeline::writer;
use crate::foundation::runtime::work_queue::WorkQueue;
use redis::{RedisResult, Value};
use std::sync::Arc;
use std::time::Duration;

/// The writer of acknowledgements.
pub type Writer = writer::Writer<Acknowledge>;

/// Events that are finished.
#[derive(Debug)]
pub struct Acknowledge(pub Vec<StreamId>);

/// The state that acknowledgements share.
pub struct AcknowledgementContext {
    /// The group.
    pub consumer: Arc<GroupConsumer>,
    /// The events that are held until they are acknowledged.
    pub queue: Arc<WorkQueue<InFlight>>,
}

impl Context for AcknowledgementContext {
    const THREAD: &'static str = "event-acks";
    const CLOSED: &'static str = "the consumer was stopped before this could be acknowledged";
    const PURPOSE: Purpose = Purpose::Work;

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.consumer.endpoint
    }

    fn connected(&self, _route: &Route, _connection: &mut Connection) -> RedisResult<()> {
        Ok(())
    }
}

impl Outbound for Acknowledge {
    fn size(&self) -> usize {
        self.0.len() * 32 + 100
    }
}

impl Carried for Acknowledge {
    type Context = AcknowledgementContext;
    type Remembered = ();
    type Tail = Acknowledgements;

    fn content_size(&self) -> usize {
        0
    }

    fn key(&self, context: &AcknowledgementContext) -> String {
        context.consumer.stream.clone()
    }

    fn rights(&self) -> &'static str {
        "+xack"
    }

    /// Collects the acknowledgements of a batch. They are written together at its end.
    fn encode(self, to: &mut Writing<'_, Self>) -> Option<Self> {
        to.tail.0.extend(self.0);
        None
    }

    fn settle(&mut self, _replies: &[Value], _delivery: &Delivery<'_, Self>) -> RedisResult<Option<Self>> {
        Ok(None)
    }

    fn broken(self, _may_be_executed: bool, _context: &AcknowledgementContext) -> Option<Self> {
        Some(self)
    }

    /// Returns true, because an event that is not acknowledged would be handled again.
    fn waits_for_redis(&self, _context: &AcknowledgementContext) -> bool {
        true
    }

    fn is_hopeless(&self, _patience: Duration, _context: &AcknowledgementContext) -> bool {
        false
    }

    /// Drops the acknowledgement. The event stays pending, and is handled again after a lease.
    fn fail(self, error: &Error, context: &AcknowledgementContext) -> Option<Self> {
        let endpoint = context.endpoint();
        let count = self.0.len();
        endpoint.stats.answers_dropped.add(count as u64);
        let message = format!(
            "{count} events were handled, but not acknowledged, and will be handled again: {}",
            error.message
        );
        endpoint.report(Error { message, ..error.clone() });
        context.queue.finish_all(self.0);
        None
    }
}

/// The ids that a batch acknowledges.
pub struct Acknowledgements(Vec<StreamId>);

impl Tail<Acknowledge> for Acknowledgements {
    fn begin(_route: &Route, _context: &AcknowledgementContext) -> Self {
        Self(Vec::new())
    }

    fn encode(&mut self, encoder: &mut Encoder<'_>, context: &AcknowledgementContext) {
        if self.0.is_empty() {
            return;
        }
        let mut command = encoder.command(3 + self.0.len());
        command.word("XACK").word(&context.consumer.stream).word(&context.consumer.group);
        for id in &self.0 {
            command.id(*id);
        }
    }

    fn settle(
        self,
        replies: &[Value],
        leftover: &mut Leftover<Acknowledge>,
        context: &AcknowledgementContext,
    ) {
        match replies.first() {
            Some(Value::ServerError(error)) if !self.0.is_empty() => {
                leftover.refuse(Acknowledge(self.0), &error.clone().into(), context);
            }
            _ => {
                context.endpoint().stats.answers_sent.add(self.0.len() as u64);
                context.queue.finish_all(self.0);
            }
        }
    }

    fn unsent(self) -> Option<Acknowledge> {
        (!self.0.is_empty()).then_some(Acknowledge(self.0))
    }
}
