//! The names of one instance on its stream, and its keys.

use crate::error::Error;
use crate::foundation::payload::limits::check_name;
use crate::foundation::payload::text::Text;
use crate::request_reply::protocol::keys::Keys;

/// The names of one instance of a group.
pub struct Names {
    /// The stream's keys.
    pub keys: Keys,
    /// The group.
    pub group: Text,
    /// The unguessable id of this instance. It is also the name of its consumer.
    pub instance_id: Text,
    /// The key of the group's inbox.
    pub inbox: String,
    /// The key of this instance's reply stream.
    pub replies: String,
}

impl Names {
    /// Creates the names of the instance `instance_id` of `group` on `stream`.
    ///
    /// # Errors
    ///
    /// A name is empty or too long.
    pub fn new(stream: &str, group: &str, instance_id: &str) -> Result<Self, Error> {
        let keys = Keys::new(stream)?;
        check_name("group", group)?;
        Ok(Self {
            inbox: keys.inbox(group),
            replies: keys.replies(group, instance_id),
            keys,
            group: group.into(),
            instance_id: instance_id.into(),
        })
    }
}
