//! The keys of a record, and its members in the index.

use crate::foundation::payload::key_part;

/// The names of one instance, and the keys that go with them.
#[derive(Debug)]
pub struct RecordKeys {
    /// The stream or the queue.
    pub stream: String,
    /// The group. A queue has none: then it is empty.
    pub group: String,
    /// The instance.
    pub instance: String,
    /// The record.
    pub record: String,
    /// The index of the records of the stream.
    pub index: String,
    /// What the group is told to do.
    pub control: String,
    /// The member of the index that stands for the record.
    pub member: String,
    /// The member of the index that stands for the group.
    pub group_member: String,
}

impl RecordKeys {
    /// Creates the keys of `instance`, which serves `group` of `stream`.
    pub fn new(stream: &str, group: &str, instance: &str) -> Self {
        let (group_member, index) = (key_part::encode(group), format!("{stream}:stats"));
        let member = format!("{group_member}:{}", key_part::encode(instance));
        Self {
            stream: stream.to_owned(),
            group: group.to_owned(),
            instance: instance.to_owned(),
            record: format!("{index}:{member}"),
            control: format!("{stream}:control:{group_member}"),
            index,
            member,
            group_member,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_documented_form() {
        let keys = RecordKeys::new("house", "a:b", "7f");
        assert_eq!((keys.record.as_str(), keys.index.as_str()), ("house:stats:a%3Ab:7f", "house:stats"));
        assert_eq!((keys.control.as_str(), keys.member.as_str()), ("house:control:a%3Ab", "a%3Ab:7f"));
        let queue = RecordKeys::new("jobs", "", "7f");
        assert_eq!((queue.record.as_str(), queue.control.as_str()), ("jobs:stats::7f", "jobs:control:"));
    }
}
