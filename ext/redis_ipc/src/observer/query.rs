//! Reads the queries that Ruby asks: Arrays of a name and its arguments.

use crate::codec::decode::entry_id;
use crate::ruby::errors;
use magnus::{Error, RArray, Ruby, Symbol, TryConvert, Value};
use redis_ipc_core::observer::Query;
use redis_ipc_core::{Error as CoreError, StreamId};

/// A query of Ruby, and which of the entries that it finds are wanted.
pub struct Asked {
    /// The query.
    pub query: Query,
    /// The entries are wanted with all their fields.
    pub is_whole: bool,
    /// Only entries with this text in a field are wanted.
    pub matching: Option<String>,
    /// That field may be the content, too.
    pub in_content: bool,
}

/// The name and the arguments of a query.
struct Words<'r> {
    ruby: &'r Ruby,
    words: RArray,
}

impl Words<'_> {
    fn text(&self, place: isize) -> Result<String, Error> {
        self.words.entry(place)
    }

    fn number(&self, place: isize) -> Result<usize, Error> {
        self.words.entry(place)
    }

    fn id(&self, place: isize) -> Result<StreamId, Error> {
        entry_id(self.ruby, &self.text(place)?)
    }

    fn id_or_nil(&self, place: isize) -> Result<Option<StreamId>, Error> {
        let text: Option<String> = self.words.entry(place)?;
        text.map(|text| entry_id(self.ruby, &text)).transpose()
    }

    fn query(&self, name: &str) -> Result<Query, Error> {
        let checked =
            |query: Result<Query, CoreError>| query.map_err(|error| errors::raise(self.ruby, &error));
        Ok(match name {
            "instances" => checked(Query::instances(&self.text(1)?))?,
            "known" => Query::known(&self.text(1)?),
            "record" => Query::record(&self.text(1)?, &self.text(2)?, &self.text(3)?),
            "records" => {
                let wanted: RArray = self.words.entry(2)?;
                let wanted: Vec<(String, Option<String>)> =
                    wanted.into_iter().map(TryConvert::try_convert).collect::<Result<_, _>>()?;
                let none = || Error::new(self.ruby.exception_arg_error(), "no record is wanted");
                Query::records(&self.text(1)?, &wanted).ok_or_else(none)?
            }
            "control" => Query::control(&self.text(1)?, &self.text(2)?),
            "inbox" => checked(Query::inbox(&self.text(1)?, &self.text(2)?))?,
            "requests" => {
                let (stream, group) = (self.text(1)?, self.text(2)?);
                checked(Query::requests(&stream, &group, self.id_or_nil(3)?, self.number(4)?))?
            }
            "taken" => {
                let (stream, group) = (self.text(1)?, self.text(2)?);
                checked(Query::taken(&stream, &group, self.id_or_nil(3)?, self.number(4)?))?
            }
            "dead" => Query::dead(&self.text(1)?, &self.text(2)?),
            "dead_letters" => {
                let (stream, group) = (self.text(1)?, self.text(2)?);
                Query::dead_letters(&stream, &group, self.id_or_nil(3)?, self.number(4)?)
            }
            "dead_letter" => Query::dead_letter(&self.text(1)?, &self.text(2)?, self.id(3)?),
            "queue" => checked(Query::queue(&self.text(1)?))?,
            "next_in_queue" => checked(Query::next_in_queue(&self.text(1)?))?,
            "servers" => checked(Query::servers(&self.text(1)?))?,
            "processing" => checked(Query::processing(&self.text(1)?, &self.text(2)?))?,
            "queue_dead" => checked(Query::queue_dead(&self.text(1)?))?,
            "queue_dead_letters" => {
                checked(Query::queue_dead_letters(&self.text(1)?, self.number(2)?, self.number(3)?))?
            }
            _ => return self.query_of_events(name),
        })
    }

    fn query_of_events(&self, name: &str) -> Result<Query, Error> {
        Ok(match name {
            "event_stream" => Query::event_stream(&self.text(1)?),
            "event_groups" => Query::event_groups(&self.text(1)?),
            "event_consumers" => Query::event_consumers(&self.text(1)?, &self.text(2)?),
            "event_lag" => Query::event_lag(&self.text(1)?, &self.text(2)?),
            "event_progress" => Query::event_progress(&self.text(1)?, &self.text(2)?),
            "event_after" => Query::event_after(&self.text(1)?, self.id(2)?),
            "event_lanes" => Query::event_lanes(&self.text(1)?, &self.text(2)?),
            "event_pending" => {
                let (stream, group) = (self.text(1)?, self.text(2)?);
                Query::event_pending(&stream, &group, self.id_or_nil(3)?, self.number(4)?)
            }
            _ => return self.query_of_nodes(name),
        })
    }

    fn query_of_nodes(&self, name: &str) -> Result<Query, Error> {
        Ok(match name {
            "info" => Query::info(&self.text(1)?),
            "settings" => Query::settings(&self.text(1)?),
            "clients" => Query::clients(&self.text(1)?),
            "user" => Query::user(&self.text(1)?),
            "users" => Query::users(&self.text(1)?),
            "is_allowed" => {
                let words: Vec<String> = self.words.entry(3)?;
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                Query::is_allowed(&self.text(1)?, &self.text(2)?, &words)
            }
            "expiry" => Query::expiry(&self.text(1)?),
            "streams" => Query::streams(&self.text(1)?, &self.text(2)?),
            "keys" => Query::keys(&self.text(1)?, &self.text(2)?, &self.text(3)?),
            _ => {
                let message = format!("there is no query {name:?}");
                return Err(Error::new(self.ruby.exception_arg_error(), message));
            }
        })
    }
}

/// Reads a query.
///
/// # Errors
///
/// ArgumentError if there is no such query or a name is not valid; TypeError if an argument has another type.
pub fn read(ruby: &Ruby, query: Value) -> Result<Asked, Error> {
    let words = Words { ruby, words: RArray::try_convert(query)? };
    let name = words.words.entry::<Symbol>(0)?.name()?.into_owned();
    let (matching, in_content) = match &*name {
        "dead_letters" => (words.words.entry(5)?, words.words.entry(6)?),
        _ => (None, false),
    };
    Ok(Asked { query: words.query(&name)?, is_whole: name == "dead_letter", matching, in_content })
}
