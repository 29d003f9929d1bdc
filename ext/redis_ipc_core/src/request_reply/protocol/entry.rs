//! The entries of the wire protocol. It converts requests and answers to and from the fields of a stream entry.

use crate::foundation::payload::fields::{Extent, Fields, MAX_FIELDS};
use crate::foundation::payload::json::{self, JsonError};
use crate::foundation::payload::limits::{MAX_KEY, MAX_NAME};
use crate::foundation::payload::stream_entry::StreamId;
use crate::foundation::payload::text::Text;
use crate::request_reply::protocol::content::Content;
use crate::request_reply::protocol::keys::Keys;
use crate::request_reply::protocol::names::Names;
use bytes::Bytes;
use std::time::{Duration, Instant};

/// The texts of an entry share its memory if it has at most this many bytes. They keep all of it then.
const SHARED: usize = 4 << 10;

/// The most bytes of a trace context (W3C's has 55). A longer one is left out.
const MAX_TRACEPARENT: usize = 128;

/// The most bytes of a correlation id (the longest of Rails's request ids). A longer one is left out.
const MAX_CORRELATION_ID: usize = 255;

/// A time that exceeds the lifetime of any request.
const FOREVER: Duration = Duration::from_secs(366 * 86_400);

/// How many fields every request has. A request with no more has no optional fields, so they are not looked up.
const REQUIRED_FIELDS: usize = 8;

/// The three states of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A request.
    Pending,
    /// An answer: the handler succeeded.
    Fulfilled,
    /// An answer: the handler refused or failed, or the library rejected the request.
    Rejected,
}

impl Status {
    /// Returns its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Fulfilled => "fulfilled",
            Status::Rejected => "rejected",
        }
    }
}

/// The reason why an entry is not a request or an answer of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A required field is missing.
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
    /// A field has an invalid value.
    #[error("the field {field:?} is not {expected}")]
    Bad {
        /// The field.
        field: &'static str,
        /// A description of a valid value.
        expected: &'static str,
    },
    /// The entry has more than [`MAX_FIELDS`] fields.
    #[error("it has more than {MAX_FIELDS} fields")]
    TooManyFields,
    /// The entry is so large that it was not read as a whole.
    #[error("it has {0} bytes, far more than max_content_size allows, and was not read as a whole")]
    TooLarge(u64),
    /// The content is not acceptable JSON.
    #[error("its content is refused: {0}")]
    Content(#[from] JsonError),
}

/// A request taken from an inbox.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's id for it.
    pub id: Text,
    /// Redis's id for it.
    pub redis_id: StreamId,
    /// The calling instance.
    pub instance_id: Text,
    /// The content, in JSON.
    pub content: Content,
    /// The calling group.
    pub source_group: Text,
    /// The destination group.
    pub destination_group: Text,
    /// The key that the answer goes to.
    pub reply_to: Text,
    /// How long it is valid, in ms from when Redis got it.
    pub ttl: u64,
    /// When Redis got it, in ms on its clock. Its id tells; if the id is ahead of the clock, this is earlier.
    pub since: u64,
    /// When it expires, on the monotonic clock, which cannot be set.
    pub due: Instant,
    /// How often it has been delivered, this time included.
    pub deliveries: u32,
    /// It was sent again after a broken connection, so an earlier copy may have run.
    pub resent: bool,
    /// It was a dead letter that is tried again.
    pub retried: bool,
    /// It was there before its group was created. An earlier group of that name may have delivered it.
    pub outlived_group: bool,
    /// The work that it belongs to.
    pub context: Context,
}

/// The work that a request belongs to, as the caller says. The core carries it and does not use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The caller's trace context (W3C `traceparent`).
    pub traceparent: Option<String>,
    /// The caller's name for the work that the request is part of: in Rails, the id of the HTTP request.
    pub correlation_id: Option<String>,
}

impl Context {
    fn read(fields: &Reading<'_>) -> Self {
        let text = |name, limit| fields.optional(name).and_then(|bytes| printable(bytes, limit));
        Self {
            traceparent: text("traceparent", MAX_TRACEPARENT),
            correlation_id: text("correlation_id", MAX_CORRELATION_ID),
        }
    }

    fn write(&self, put: &mut impl FnMut(&str, &[u8])) {
        let texts = [
            ("traceparent", &self.traceparent, MAX_TRACEPARENT),
            ("correlation_id", &self.correlation_id, MAX_CORRELATION_ID),
        ];
        for (name, text, limit) in texts {
            if let Some(text) = text.as_ref().filter(|text| text.len() <= limit) {
                put(name, text.as_bytes());
            }
        }
    }
}

impl Request {
    /// Reads the fields of an inbox entry. `limit` is the most bytes of content.
    ///
    /// # Errors
    ///
    /// The entry is not a request of this protocol, or exceeds a limit.
    pub fn decode(
        redis_id: StreamId,
        fields: &Fields,
        keys: &Keys,
        limit: usize,
    ) -> Result<Self, EntryError> {
        let fields = Reading::new(fields)?;
        if fields.needed("status")? != b"pending" {
            return Err(EntryError::Bad { field: "status", expected: "\"pending\"" });
        }
        let (source_group, reply_to) = (fields.text("source_group")?, fields.key("reply_to")?);
        if !keys.is_replies_of(&source_group, reply_to.as_bytes()) {
            return Err(EntryError::Bad {
                field: "reply_to",
                expected: "a reply stream of this stream and its source_group",
            });
        }
        let ttl = std::str::from_utf8(fields.needed("ttl")?).unwrap_or_default();
        let ttl = ttl.parse().ok().filter(|ttl| *ttl > 0);
        let has_options = fields.0.len() > REQUIRED_FIELDS;
        Ok(Self {
            redis_id,
            since: redis_id.ms,
            due: Instant::now(),
            id: fields.text("id")?,
            instance_id: fields.text("instance_id")?,
            source_group,
            destination_group: fields.text("destination_group")?,
            reply_to,
            ttl: ttl.ok_or(EntryError::Bad { field: "ttl", expected: "a whole number of ms over 0" })?,
            deliveries: 1,
            resent: has_options && fields.optional("resent").is_some(),
            retried: has_options && fields.optional("retried").is_some(),
            outlived_group: false,
            context: if has_options { Context::read(&fields) } else { Context::default() },
            content: fields.content(limit)?.into(),
        })
    }

    /// Whether it may have run before.
    pub fn may_have_run(&self) -> bool {
        self.deliveries > 1 || self.resent || self.retried || self.outlived_group
    }

    /// Sets when Redis got the request to `since`; `now` is Redis's time. Both are in ms.
    #[must_use]
    pub fn aged(self, since: u64, now: u64) -> Self {
        let age = now.saturating_sub(since);
        let left = Duration::from_millis(self.ttl.saturating_sub(age)).min(FOREVER);
        Self { since, due: Instant::now() + left, ..self }
    }

    /// Returns when it expires, in ms on Redis's clock.
    pub fn deadline(&self) -> u64 {
        self.since.saturating_add(self.ttl)
    }

    /// Returns how long it has waited at the time `now`. `None` if it has expired by then.
    pub fn waited(&self, now: Instant) -> Option<Duration> {
        let left = self.due.saturating_duration_since(now);
        let whole = Duration::from_millis(self.ttl).min(FOREVER);
        (!left.is_zero()).then(|| whole.saturating_sub(left))
    }

    /// Returns how long it is still valid. Zero once it has expired.
    pub fn left(&self) -> Duration {
        self.due.saturating_duration_since(Instant::now())
    }

    /// Whether it has expired.
    pub fn is_past(&self) -> bool {
        self.left().is_zero()
    }
}

/// An answer, on its way to the caller or received.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The id of the request it answers.
    pub id: Text,
    /// The answering instance.
    pub instance_id: Text,
    /// Whether it is fulfilled or rejected.
    pub status: Status,
    /// JSON: the value, or the reason of a rejection.
    pub content: Content,
    /// The class of the exception behind a rejection, if there was one.
    pub error: Option<String>,
    /// The answering group.
    pub source_group: Text,
    /// The calling group.
    pub destination_group: Text,
    /// Redis's id for it. It is zero until Redis has given one.
    pub redis_id: StreamId,
}

impl Answer {
    /// The answer of the instance `names` to `request`.
    pub fn to(
        request: &Request,
        names: &Names,
        status: Status,
        content: impl Into<Content>,
        error: Option<String>,
    ) -> Self {
        Self {
            id: request.id.clone(),
            instance_id: names.instance_id.clone(),
            status,
            content: content.into(),
            error,
            source_group: names.group.clone(),
            destination_group: request.source_group.clone(),
            redis_id: StreamId::default(),
        }
    }

    /// Reads the fields of an entry in a reply stream. `limit` is the most bytes of content.
    ///
    /// # Errors
    ///
    /// The entry is not an answer of this protocol, or exceeds a limit.
    pub fn decode(redis_id: StreamId, fields: &Fields, limit: usize) -> Result<Self, EntryError> {
        let fields = Reading::new(fields)?;
        let status = match fields.needed("status")? {
            b"fulfilled" => Status::Fulfilled,
            b"rejected" => Status::Rejected,
            _ => return Err(EntryError::Bad { field: "status", expected: "\"fulfilled\" or \"rejected\"" }),
        };
        Ok(Self {
            redis_id,
            status,
            id: fields.text("id")?,
            instance_id: fields.text("instance_id")?,
            source_group: fields.text("source_group")?,
            destination_group: fields.text("destination_group")?,
            error: fields.optional("error").map(|error| String::from_utf8_lossy(error).into_owned()),
            content: fields.content(limit)?.into(),
        })
    }

    /// Passes each field to `put`, in wire order.
    pub fn write(&self, mut put: impl FnMut(&str, &[u8])) {
        put("id", self.id.as_bytes());
        put("instance_id", self.instance_id.as_bytes());
        put("status", self.status.name().as_bytes());
        self.content.read(|content| put("content", content));
        put("source_group", self.source_group.as_bytes());
        put("destination_group", self.destination_group.as_bytes());
        if let Some(error) = &self.error {
            put("error", error.as_bytes());
        }
    }
}

/// A request that is to be sent.
#[derive(Debug)]
pub struct Question {
    /// The content, in JSON.
    pub content: Vec<u8>,
    /// The destination group.
    pub to: String,
    /// The work that it belongs to.
    pub context: Context,
}

impl Question {
    /// Passes each field of the request of the instance `from` to `put`, in wire order. `ttl` is in ms.
    pub fn write(&self, from: &Names, id: &[u8], ttl: u64, resent: bool, mut put: impl FnMut(&str, &[u8])) {
        put("id", id);
        put("instance_id", from.instance_id.as_bytes());
        put("status", b"pending");
        put("content", &self.content);
        put("source_group", from.group.as_bytes());
        put("destination_group", self.to.as_bytes());
        put("reply_to", from.replies.as_bytes());
        put("ttl", itoa::Buffer::new().format(ttl).as_bytes());
        if resent {
            put("resent", b"1");
        }
        self.context.write(&mut put);
    }
}

/// Returns a text of the caller as it was received. An invalid one is no reason to refuse the request.
fn printable(bytes: &[u8], limit: usize) -> Option<String> {
    let printable = !bytes.is_empty() && bytes.len() <= limit && bytes.iter().all(u8::is_ascii_graphic);
    printable.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// The fields of an entry, looked up by name. Unknown fields are ignored, so that the protocol can grow.
struct Reading<'a>(&'a Fields);

impl<'a> Reading<'a> {
    fn new(fields: &'a Fields) -> Result<Self, EntryError> {
        match fields.cut_from() {
            Some(Extent { fields, .. }) if fields > MAX_FIELDS => Err(EntryError::TooManyFields),
            Some(Extent { bytes, .. }) => Err(EntryError::TooLarge(bytes)),
            None if fields.len() > MAX_FIELDS => Err(EntryError::TooManyFields),
            None => Ok(Self(fields)),
        }
    }

    fn optional(&self, name: &str) -> Option<&'a [u8]> {
        self.0.get(name)
    }

    fn needed(&self, name: &'static str) -> Result<&'a [u8], EntryError> {
        self.optional(name).ok_or(EntryError::Missing(name))
    }

    fn text(&self, name: &'static str) -> Result<Text, EntryError> {
        if self.needed(name)?.len() > MAX_NAME {
            return Err(EntryError::Bad { field: name, expected: "at most 1024 bytes" });
        }
        self.key(name)
    }

    /// Reads a key, which consists of two names and an instance, percent-encoded.
    fn key(&self, name: &'static str) -> Result<Text, EntryError> {
        let bytes = self.part(name)?;
        if bytes.is_empty() || bytes.len() > MAX_KEY {
            return Err(EntryError::Bad { field: name, expected: "between 1 and 8192 bytes" });
        }
        Text::new(bytes).ok_or(EntryError::Bad { field: name, expected: "UTF-8" })
    }

    fn content(&self, limit: usize) -> Result<Bytes, EntryError> {
        let content = self.share("content")?;
        json::check(&content, limit)?;
        Ok(content)
    }

    /// Reads a field. It shares the memory of all fields if that is small, and is a copy otherwise, because it is
    /// kept for longer than the content.
    fn part(&self, name: &'static str) -> Result<Bytes, EntryError> {
        if self.0.size() <= SHARED {
            return self.share(name);
        }
        self.needed(name).map(Bytes::copy_from_slice)
    }

    fn share(&self, name: &'static str) -> Result<Bytes, EntryError> {
        self.0.share(name).ok_or(EntryError::Missing(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 16;

    fn keys() -> Keys {
        Keys::new("house").unwrap()
    }

    type Field = (Vec<u8>, Vec<u8>);

    fn decoded(fields: &[Field]) -> Result<Request, EntryError> {
        Request::decode(StreamId::default(), &gathered(fields), &keys(), LIMIT)
    }

    fn gathered(fields: &[Field]) -> Fields {
        fields.iter().map(|(name, value)| (name, value)).collect()
    }

    fn written(question: &Question, ttl: u64, resent: bool) -> Vec<Field> {
        let from = Names::new("house", "parent", "i").unwrap();
        let mut fields = Vec::new();
        question.write(&from, b"42", ttl, resent, |name, value| {
            fields.push((name.as_bytes().to_vec(), value.to_vec()))
        });
        fields
    }

    fn request_fields() -> Vec<Field> {
        written(
            &Question { content: b"1".to_vec(), to: "child".to_owned(), context: Context::default() },
            5_000,
            false,
        )
    }

    fn set(fields: &mut Vec<Field>, name: &str, value: Option<&[u8]>) {
        fields.retain(|(field, _)| field != name.as_bytes());
        if let Some(value) = value {
            fields.push((name.as_bytes().to_vec(), value.to_vec()));
        }
    }

    #[test]
    fn every_field_a_request_needs_is_missed() {
        for name in
            ["id", "instance_id", "status", "content", "source_group", "destination_group", "reply_to", "ttl"]
        {
            let mut fields = request_fields();
            set(&mut fields, name, None);
            assert!(decoded(&fields).is_err(), "{name}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for (name, value) in [
            ("status", "fulfilled"),
            ("ttl", "0"),
            ("ttl", "-1"),
            ("ttl", "soon"),
            ("reply_to", "other:replies:parent:i"),
            ("reply_to", "house:inbox:child"),
            ("content", "{"),
            ("id", ""),
        ] {
            let mut fields = request_fields();
            set(&mut fields, name, Some(value.as_bytes()));
            assert!(decoded(&fields).is_err(), "{name}={value}");
        }
        let mut fields = request_fields();
        fields.extend((0..MAX_FIELDS).map(|index| (index.to_string().into_bytes(), vec![])));
        assert_eq!(decoded(&fields), Err(EntryError::TooManyFields));
    }

    #[test]
    fn a_bad_trace_context_or_correlation_id_is_left_out() {
        for (name, limit) in [("traceparent", MAX_TRACEPARENT), ("correlation_id", MAX_CORRELATION_ID)] {
            for text in [b"\xff\xfe".as_slice(), b"00 01", b"a\nb", b"", &vec![b'0'; limit + 1]] {
                let mut fields = request_fields();
                set(&mut fields, name, Some(text));
                assert_eq!(decoded(&fields).unwrap().context, Context::default(), "{name}");
            }
            let mut fields = request_fields();
            set(&mut fields, name, Some(&vec![b'0'; limit]));
            assert_ne!(decoded(&fields).unwrap().context, Context::default(), "{name}");
        }
    }

    #[test]
    fn one_optional_field_is_found_beside_the_required_ones() {
        assert_eq!(request_fields().len(), REQUIRED_FIELDS);
        for name in ["resent", "retried", "traceparent", "correlation_id"] {
            let mut fields = request_fields();
            set(&mut fields, name, Some(b"1"));
            let request = decoded(&fields).unwrap();
            let found = [
                ("resent", request.resent),
                ("retried", request.retried),
                ("traceparent", request.context.traceparent.is_some()),
                ("correlation_id", request.context.correlation_id.is_some()),
            ];
            assert_eq!(
                found.map(|(field, there)| (field, there)),
                found.map(|(field, _)| (field, field == name))
            );
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_deadlines_do_not_overflow() {
        let mut fields = request_fields();
        set(&mut fields, "color", Some(b"\xff\xfe"));
        set(&mut fields, "ttl", Some(u64::MAX.to_string().as_bytes()));
        let request =
            Request::decode(StreamId { ms: 5, seq: 0 }, &gathered(&fields), &keys(), LIMIT).unwrap();
        assert_eq!(request.deadline(), u64::MAX);
        assert!(!request.aged(u64::MAX - 1_000, u64::MAX).is_past());
    }

    #[test]
    fn a_request_expires_when_its_ttl_has_passed_since_redis_got_it() {
        let request = || decoded(&request_fields()).unwrap();
        let fresh = request().aged(8_000, 9_000);
        assert_eq!((fresh.since, fresh.deadline(), fresh.is_past()), (8_000, 13_000, false));
        assert!(fresh.left() <= Duration::from_secs(4));
        assert!(request().aged(4_000, 9_000).is_past());
        let ahead = request().aged(9_001, 9_000);
        assert_eq!(ahead.deadline(), 14_001, "a clock that is 1 ms behind moves no deadline");
    }

    proptest! {
        #[test]
        fn a_request_survives_the_wire(
            text in ".*", to in "[^\\s].{0,20}", ttl in 1u64..3_600_000, resent: bool,
            traceparent in proptest::option::of("[0-9a-f-]{1,55}"),
            correlation_id in proptest::option::of("[0-9a-zA-Z@-]{1,255}"),
        ) {
            let context = Context { traceparent, correlation_id };
            let question = Question { content: serde_json::to_vec(&text).unwrap(), to: to.clone(), context };
            let request = Request::decode(StreamId { ms: 9, seq: 1 }, &gathered(&written(&question, ttl, resent)), &keys(), LIMIT).unwrap();
            prop_assert_eq!(&request.content.share()[..], question.content);
            prop_assert_eq!(&*request.destination_group, to);
            prop_assert_eq!(request.redis_id.ms + request.ttl, 9 + ttl);
            prop_assert_eq!(request.resent, resent);
            prop_assert_eq!(request.context, question.context);
        }

        #[test]
        fn an_answer_survives_the_wire(text in ".*", rejected: bool, error in proptest::option::of("[A-Z][a-z:]{0,20}")) {
            let answer = Answer {
                id: "42".into(), instance_id: "i".into(),
                status: if rejected { Status::Rejected } else { Status::Fulfilled },
                content: serde_json::to_vec(&text).unwrap().into(), error,
                source_group: "child".into(), destination_group: "parent".into(),
                redis_id: StreamId { ms: 3, seq: 4 },
            };
            let mut fields: Vec<Field> = Vec::new();
            answer.write(|name, value| fields.push((name.as_bytes().to_vec(), value.to_vec())));
            prop_assert_eq!(Answer::decode(answer.redis_id, &gathered(&fields), LIMIT).unwrap(), answer);
        }

        #[test]
        fn no_fields_make_it_panic(fields in proptest::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..80)) {
            let _ = decoded(&fields);
            let _ = Answer::decode(StreamId::default(), &gathered(&fields), LIMIT);
        }
    }
}
