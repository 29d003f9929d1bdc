//! `RedisIPC::Native::Logins`: the queue by which the core asks Ruby for user names and passwords; and `LoginRequest`:
//! one such request.

use crate::ruby::classes::class;
use crate::ruby::process_bound::ProcessBound;
use crate::ruby::reports::fetch;
use magnus::prelude::*;
use magnus::{Error, RModule, Ruby};
use redis_ipc_core::logins::{LoginRequest, Logins};
use redis_ipc_core::{Mailbox, RedisOptions};

/// The queue of logins that wait for values.
#[magnus::wrap(class = "RedisIPC::Native::Logins", free_immediately, size)]
pub struct NativeLogins(ProcessBound<Mailbox<LoginRequest>>);

impl NativeLogins {
    fn new(_: &Ruby) -> Result<Self, Error> {
        Ok(Self(ProcessBound::new(Mailbox::default())))
    }

    /// Waits for the next login that still needs values. Returns nil once no more come.
    fn take(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeLoginRequest>, Error> {
        let requests = rb_self.0.get(ruby)?;
        let request = loop {
            let request = fetch(ruby, requests)?;
            if request.as_ref().is_none_or(LoginRequest::is_wanted) {
                break request;
            }
        };
        Ok(request.map(|request| NativeLoginRequest(ProcessBound::new(request))))
    }
}

/// A login that waits for values.
#[magnus::wrap(class = "RedisIPC::Native::LoginRequest", free_immediately, size)]
pub struct NativeLoginRequest(ProcessBound<LoginRequest>);

/// Lets the core ask `logins` for those `options` that are callables in Ruby.
pub fn connect(ruby: &Ruby, logins: Option<&NativeLogins>, options: &mut RedisOptions) -> Result<(), Error> {
    if let Some(logins) = logins {
        options.ask(Logins::new(logins.0.get(ruby)?));
    }
    Ok(())
}

/// Defines the classes.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    class!(ruby, native, "Logins": NativeLogins {
        own "new", 0 => function0(NativeLogins::new);
        read "close" => |requests| requests.close();
        "take", 0 => method0(NativeLogins::take);
    });
    class!(ruby, native, "LoginRequest": NativeLoginRequest {
        // The names of the options whose values the login needs.
        read "names" => |login| login.names.clone();
        read "username" => |login| login.username.clone();
        // Supplies the values, in the order of the names.
        ask "answer" => |login, values: Vec<String>| login.answer(values);
        // Refuses the login. The reason must hold no secret.
        ask "refuse" => |login, why: String| login.refuse(why);
    });
    Ok(())
}
