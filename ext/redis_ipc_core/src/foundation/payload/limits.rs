//! How long names and keys may be.

use crate::error::{Error, ErrorKind};

/// The most bytes a name or an id may have.
pub const MAX_NAME: usize = 1_024;

/// The most bytes the key of a reply stream may have: it is made of three names, percent-encoded.
pub const MAX_KEY: usize = 8 * MAX_NAME;

/// Fails with an argument error if `name` is blank or longer than [`MAX_NAME`].
pub fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let refusal = if name.trim().is_empty() {
        format!("the {what} name cannot be blank")
    } else if name.len() > MAX_NAME {
        format!("the {what} name has {} bytes, the limit is {MAX_NAME}", name.len())
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Argument, refusal))
}
