//! One instance of a group on a stream: the state that all of its parts need.

use crate::error::{Error, ErrorKind, Place};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::redis::endpoint::Endpoint;
use crate::foundation::redis::group_consumer::consumer::GroupConsumer;
use crate::foundation::redis::pool::Pool;
use crate::foundation::redis::record::control::Control;
use crate::foundation::redis::record::keys::RecordKeys;
use crate::foundation::redis::record::writer::RecordWriter;
use crate::foundation::runtime::id_source::IdSource;
use crate::request_reply::membership::options::Options;
use crate::request_reply::protocol::names::Names;
use std::sync::Arc;

/// One instance of a group on a stream.
pub struct Instance {
    /// Its names and keys.
    pub names: Names,
    /// Its options.
    pub options: Options,
    /// The access to Redis, and the receiver of reports.
    pub endpoint: Arc<Endpoint>,
    /// The connections for everything but the blocking reads and the writer.
    pub connections: Arc<Pool>,
    /// What its group is told to do.
    pub control: Arc<Control>,
}

impl Instance {
    /// Creates an instance of `group` on `stream` that has no connection yet.
    ///
    /// # Errors
    ///
    /// A name is empty or too long, or the system has no random numbers.
    pub fn new(stream: &str, group: &str, options: Options) -> Result<Self, Error> {
        let names = Names::new(stream, group, &IdSource::default().next()?.to_string())?;
        let place =
            Place { stream: Some(stream.to_owned()), group: Some(group.to_owned()), ..Place::default() };
        let endpoint = Endpoint::new(place, &options.redis);
        let most = options.max_pool_size.unwrap_or(options.pool_size);
        let connections = Arc::new(Pool::new(Arc::clone(&endpoint.connector), most));
        let control = Arc::default();
        Ok(Self { names, options, endpoint: Arc::new(endpoint), connections, control })
    }

    /// This instance as a consumer of its group.
    pub fn group_consumer(&self) -> GroupConsumer {
        let (endpoint, connections) = (Arc::clone(&self.endpoint), Arc::clone(&self.connections));
        let Names { inbox, group, instance_id, .. } = &self.names;
        let (inbox, group, name) = (inbox.clone(), group.clone(), instance_id.clone());
        GroupConsumer::new(endpoint, connections, inbox, group, name, self.options.room())
    }

    /// The writer of this instance's record.
    pub fn record(&self) -> RecordWriter {
        let keys = RecordKeys::new(self.names.keys.stream(), &self.names.group, &self.names.instance_id);
        let control = Arc::clone(&self.control);
        RecordWriter::new(Arc::clone(&self.endpoint), keys, control, self.options.consumer.lease)
    }

    /// Creates an error about a group of this stream.
    pub fn error(&self, kind: ErrorKind, message: impl Into<String>, group: &str) -> Error {
        Error::new(kind, message).at(self.names.keys.stream(), group)
    }

    /// Creates the error of content over the limit.
    pub fn too_large(&self, size: usize, group: &str) -> Error {
        let limit = self.options.max_content_size;
        let message =
            format!("the content has {size} bytes of JSON, the limit is {limit} (max_content_size)");
        self.error(ErrorKind::Content, message, group)
    }

    /// Returns the first id of an inbox that a living request can have. Older requests are past any deadline.
    /// Removing those by XADD's MINID also removes the requests of callers that died.
    pub fn oldest_alive(&self) -> StreamId {
        let lifetime = self.options.inbox_lifetime().as_millis() as u64;
        StreamId { ms: self.endpoint.clock.now().saturating_sub(lifetime), seq: 0 }
    }
}
