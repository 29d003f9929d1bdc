//! `RedisIPC::Native::Logins`: what the core asks Ruby for at each login, and `LoginRequest`, one such question.

use crate::ruby::classes::settle_class;
use crate::ruby::entry;
use crate::ruby::gvl::wait_for_message;
use crate::ruby::process_bound::ProcessBound;
use magnus::prelude::*;
use magnus::{Error, RModule, Ruby, function, method};
use redis_ipc_core::RedisOptions;
use redis_ipc_core::logins::{LoginRequest, LoginRequests, Logins, TakenLogin, queue};

/// Both ends of the queue.
#[magnus::wrap(class = "RedisIPC::Native::Logins", free_immediately, size)]
pub struct NativeLogins(ProcessBound<(Logins, LoginRequests)>);

impl NativeLogins {
    fn new(_: &Ruby) -> Result<Self, Error> {
        Ok(Self(ProcessBound::new(queue())))
    }

    /// The next login that waits for values; nil at the end.
    fn take(ruby: &Ruby, rb_self: &Self) -> Result<Option<NativeLoginRequest>, Error> {
        let both = rb_self.0.get(ruby)?;
        let request = wait_for_message(ruby, |interrupted| match both.1.take(interrupted) {
            TakenLogin::Request(request) => Some(Some(request)),
            TakenLogin::Closed => Some(None),
            TakenLogin::Interrupted => None,
        })?;
        Ok(request.map(|request| NativeLoginRequest(ProcessBound::new(request))))
    }

    /// Ends every `take`.
    fn close(ruby: &Ruby, rb_self: &Self) -> Result<(), Error> {
        rb_self.0.get(ruby)?.1.close();
        Ok(())
    }
}

/// A login that waits for values.
#[magnus::wrap(class = "RedisIPC::Native::LoginRequest", free_immediately, size)]
pub struct NativeLoginRequest(ProcessBound<LoginRequest>);

impl NativeLoginRequest {
    /// The options whose values are asked for.
    fn names(ruby: &Ruby, rb_self: &Self) -> Result<Vec<&'static str>, Error> {
        Ok(rb_self.0.get(ruby)?.names().to_vec())
    }

    fn username(ruby: &Ruby, rb_self: &Self) -> Result<String, Error> {
        Ok(rb_self.0.get(ruby)?.username().to_owned())
    }

    /// Gives the values, in the order of the names.
    fn answer(ruby: &Ruby, rb_self: &Self, values: Vec<String>) -> Result<(), Error> {
        rb_self.0.get(ruby)?.answer(values);
        Ok(())
    }

    /// Says why there are none; the text must hold no secret.
    fn refuse(ruby: &Ruby, rb_self: &Self, why: String) -> Result<(), Error> {
        rb_self.0.get(ruby)?.refuse(why);
        Ok(())
    }
}

/// Has `logins` asked for what `options` leave to the program.
pub fn connect(ruby: &Ruby, logins: Option<&NativeLogins>, options: &mut RedisOptions) -> Result<(), Error> {
    if let Some(logins) = logins {
        options.ask(logins.0.get(ruby)?.0.clone());
    }
    Ok(())
}

/// Defines the classes.
pub fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = native.define_class("Logins", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_singleton_method("new", function!(entry::function0(NativeLogins::new), 0))?;
    class.define_method("take", method!(entry::method0(NativeLogins::take), 0))?;
    class.define_method("close", method!(entry::method0(NativeLogins::close), 0))?;
    settle_class::<NativeLogins>(ruby);

    let class = native.define_class("LoginRequest", ruby.class_object())?;
    class.undef_default_alloc_func();
    class.define_method("names", method!(entry::method0(NativeLoginRequest::names), 0))?;
    class.define_method("username", method!(entry::method0(NativeLoginRequest::username), 0))?;
    class.define_method("answer", method!(entry::method1(NativeLoginRequest::answer), 1))?;
    class.define_method("refuse", method!(entry::method1(NativeLoginRequest::refuse), 1))?;
    settle_class::<NativeLoginRequest>(ruby);
    Ok(())
}
