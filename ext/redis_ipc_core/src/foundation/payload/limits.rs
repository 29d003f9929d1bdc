//! Limits on the length of names and keys.

use crate::error::{Error, ErrorKind};

/// The most bytes a name or an id may have.
pub const MAX_NAME: usize = 1_024;

/// The most bytes of the key of a reply stream. It consists of three names, percent-encoded.
pub const MAX_KEY: usize = 8 * MAX_NAME;

/// Checks that `name` is not blank and not longer than [`MAX_NAME`].
///
/// # Errors
///
/// `name` is blank or too long (an argument error).
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

/// Checks the `name` of a `what` whose keys begin with it: with one of the `reserved` words after a colon it would share
/// keys with `others`.
///
/// # Errors
///
/// The name is not valid (an [`ErrorKind::Argument`] error).
pub fn check_key_name(what: &str, name: &str, reserved: &[&str], others: &str) -> Result<(), Error> {
    check_name(what, name)?;
    let Some(segment) = name.split(':').skip(1).find(|segment| reserved.contains(segment)) else {
        return Ok(());
    };
    let message =
        format!("the {what} name {name:?} cannot contain \":{segment}\": it would share keys with {others}");
    Err(Error::new(ErrorKind::Argument, message))
}
