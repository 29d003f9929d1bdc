//! The state that an instance's commands share, and the end of commands that cannot be sent.

use crate::error::{Error, ErrorKind, Fate};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::cluster::Route;
use crate::foundation::redis::connection::Connection;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::pipeline::carried::Context;
use crate::foundation::runtime::incidents::Incident;
use crate::foundation::runtime::news::News;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::reply_stream::ReplyStream;
use crate::request_reply::sending::acceptance::Acceptance;
use crate::request_reply::sending::command::Command;
use crate::request_reply::sending::explainer::Explainer;
use crate::request_reply::sending::reply_room::{NoRoom, ReplyRoom};
use crate::request_reply::tracking::ledger::{Ledger, Sent, Ticket};
use crate::request_reply::tracking::rejection::{self, Cause};
use crate::request_reply::tracking::request_queue::RequestQueue;
use crate::request_reply::tracking::suspects::Suspects;
use redis::{RedisResult, Value};
use std::sync::Arc;

/// The state that an instance's commands and the handling of their replies share.
pub struct CommandContext {
    /// This instance.
    pub instance: Arc<Instance>,
    /// Its reply stream.
    pub replies: Arc<ReplyStream>,
    /// The calls made here.
    pub ledger: Arc<Ledger>,
    /// The requests held here.
    pub queue: Arc<RequestQueue>,
    /// Whether Redis accepted the last answers.
    pub acceptance: Arc<Acceptance>,
    /// How full the reply streams are that answers go to.
    pub reply_room: ReplyRoom,
    /// Explains timeouts.
    pub explainer: Arc<Explainer>,
    /// The requests held here that may crash this process.
    pub suspects: Arc<Suspects>,
    /// The last reported refusal of an acknowledgement.
    pub unacknowledged: News,
    /// The last reported refusal of a withdrawal.
    pub unwithdrawn: News,
    /// The last reported refusal to keep an inbox no longer than it is used.
    pub unkept: News,
}

impl Context for CommandContext {
    const THREAD: &'static str = "ipc-sender";
    const CLOSED: &'static str = "the stream was disconnected before this could be sent";

    fn endpoint(&self) -> &Arc<Endpoint> {
        &self.instance.endpoint
    }

    /// Creates the reply stream again if it is missing, because a request that is sent now may be answered before the
    /// reader of answers is connected.
    fn connected(&self, route: &Route, _connection: &mut Connection) -> RedisResult<()> {
        if self.instance.endpoint.connector.known_route(self.replies.key()) == *route {
            // The pool may begin with a connection that broke unnoticed. If both attempts fail, that reader reports
            // why.
            let _ = self.replies.restore().or_else(|_| self.replies.restore());
        }
        Ok(())
    }
}

impl CommandContext {
    /// Counts and reports a lost answer.
    pub fn lose_answer(&self, id: StreamId, error: &Error) {
        let endpoint = &self.instance.endpoint;
        endpoint.stats.answers_dropped.increment();
        let message = format!("an answer was lost: {}", error.message);
        let error = endpoint.locate(Error { message, ..error.clone() }.entry(id));
        endpoint.report_incident(Incident::AnswerLost, error);
    }

    /// Reports once that Redis refuses acknowledgements. One that comes after this instance began to leave is not
    /// reported: leaving hands on what is pending, and reports if it cannot.
    pub fn fail_acknowledgement(&self, error: &Error) {
        if matches!(error.kind, ErrorKind::Closed(_)) {
            return;
        }
        let message = format!(
            "requests were answered or dropped, but not acknowledged, so they stay pending: {}",
            error.message
        );
        self.instance.endpoint.report_news(Error { message, ..error.clone() }, &self.unacknowledged);
    }

    /// Reports once that the user may not withdraw requests.
    pub fn fail_withdrawal(&self, error: &Error) {
        if error.is_missing_right() {
            let message = format!("a request whose time is over stays in the inbox: {}", error.message);
            self.instance.endpoint.report_news(Error { message, ..error.clone() }, &self.unwithdrawn);
        }
    }

    /// Reports once that the user may not set the expiry of inboxes. `replies` are those to the commands that do.
    pub fn note_unkept(&self, replies: &[Value], group: &str) {
        if !replies.iter().any(|reply| matches!(reply, Value::ServerError(error) if error.code() == "NOPERM"))
        {
            return;
        }
        let inbox = self.instance.names.keys.inbox(group);
        let message =
            format!("an inbox that nobody uses any more stays in Redis: the user needs (~{inbox} +pexpire)");
        let error = self.instance.error(ErrorKind::Command(Fate::Unknown), message, group);
        self.instance.endpoint.report_news(error, &self.unkept);
    }

    /// Ends a call whose request is not sent.
    pub fn fail_ask(&self, ticket: &Ticket, error: &Error) {
        if self.ledger.close(ticket.id).is_none() {
            return;
        }
        let fate = if ticket.sent() == Sent::No { Fate::NotSent } else { Fate::Unknown };
        let error = Error { kind: error.kind.of_call(fate), ..error.clone() };
        self.instance.endpoint.stats.failed.increment();
        ticket.finish(Err(error.at(self.instance.names.keys.stream(), &ticket.to).entry(ticket.id)));
    }

    /// Returns `command`. An answer for which there is no room is replaced by a rejection that says so. If there is
    /// no room for that either, the command only finishes the request.
    pub fn fit(&self, command: Command) -> Command {
        let Command::Answer(held, answer) = &command else { return command };
        let reply_to = &held.request.reply_to;
        let Some(no_room) = self.reply_room.refusal(reply_to, answer.content.size()) else { return command };
        let (NoRoom::ForAnswer(reason) | NoRoom::ForAnything(reason)) = &no_room;
        let endpoint = &self.instance.endpoint;
        endpoint.stats.answers_dropped.increment();
        let kind = ErrorKind::Command(Fate::Unknown);
        let error = self.instance.error(kind, reason.as_str(), &held.request.source_group);
        endpoint.report_incident(Incident::AnswerLost, error.entry(held.id()));
        if matches!(no_room, NoRoom::ForAnything(_)) {
            return Command::Acknowledge(vec![held.id()]);
        }
        let rejection = rejection::of(&held.request, Cause::Command, reason, &self.instance);
        Command::Answer(Arc::clone(held), rejection)
    }
}
