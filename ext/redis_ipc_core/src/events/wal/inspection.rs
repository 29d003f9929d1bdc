//! Looks at a database, for somebody who wants to know what a consumer of its log needs.

use crate::error::{Error, ErrorKind};
use crate::events::common::options::ConsumerOptions;
use crate::events::wal::source::Source;
use crate::foundation::postgres::connection::Row;
use crate::foundation::postgres::settings::Settings;

/// Runs queries on the database whose log a consumer with these options reads, as its user. The user needs no right to
/// replicate for it. Returns the rows of each.
///
/// # Errors
///
/// The options name no log, or PostgreSQL cannot be reached or refuses.
pub fn ask(options: &ConsumerOptions, queries: &[String]) -> Result<Vec<Vec<Row>>, Error> {
    let Some(wal) = &options.wal else {
        return Err(Error::new(ErrorKind::Configuration, "the consumer reads no log of PostgreSQL"));
    };
    let settings = Settings { replicates: false, ..wal.connection.clone() };
    let source = Source::new(&wal.slot, settings.redacted());
    source
        .open(&settings, options.max_event_size)
        .and_then(|mut connection| queries.iter().map(|sql| connection.query(sql)).collect())
        .map_err(|failure| source.explain(&failure))
}
