//! `RedisIPC::Native::Logins`: what the core asks Ruby for at each login, and `LoginRequest`, one such question.

use crate::ruby::classes::class;
use crate::ruby::process_bound::ProcessBound;
use crate::ruby::reports::fetch;
use magnus::prelude::*;
use magnus::{Error, RModule, Ruby};
use redis_ipc_core::logins::{LoginRequest, Logins};
use redis_ipc_core::{Mailbox, RedisOptions};

/// The queue.
#[magnus::wrap(class = "RedisIPC::Native::Logins", free_immediately, size)]
pub struct NativeLogins(ProcessBound<Mailbox<LoginRequest>>);

impl NativeLogins {
    fn new(_: &Ruby) -> Result<Self, Error> {
        Ok(Self(ProcessBound::new(Mailbox::default())))
    }

    /// The next login that waits for values; nil at the end.
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

/// Has `logins` asked for what `options` leave to the program.
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
        // The options whose values are asked for.
        read "names" => |login| login.names.clone();
        read "username" => |login| login.username.clone();
        // Gives the values, in the order of the names.
        ask "answer" => |login, values: Vec<String>| login.answer(values);
        // Says why there are none; the text must hold no secret.
        ask "refuse" => |login, why: String| login.refuse(why);
    });
    Ok(())
}
