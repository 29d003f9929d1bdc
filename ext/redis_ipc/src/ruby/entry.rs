//! The way from Ruby into Rust: every method that Ruby calls is defined with one of these, by its number of arguments.
//!
//! A panic in a method becomes an InternalError. (magnus would make it `fatal`, which ends the process.) That a value
//! belongs to this process and not to its parent, [`crate::ruby::process_bound`] checks.

use crate::ruby::gvl::guarded;
use magnus::{Error, IntoValue, RString, Ruby};

/// What a method may return.
pub trait Returned {
    /// What Ruby gets.
    type Value: IntoValue;

    /// The same as a Result.
    fn returned(self) -> Result<Self::Value, Error>;
}

impl<T: IntoValue> Returned for Result<T, Error> {
    type Value = T;

    fn returned(self) -> Self {
        self
    }
}

macro_rules! returned {
    ($($type:ty),+) => {
        $(impl Returned for $type {
            type Value = Self;

            fn returned(self) -> Result<Self, Error> {
                Ok(self)
            }
        })+
    };
}

returned!(
    (),
    bool,
    u32,
    u64,
    usize,
    String,
    &str,
    Option<&str>,
    Option<u64>,
    Vec<i32>,
    RString,
    Option<RString>
);

/// A method that only reads what its object holds.
pub fn getter<S, R: Returned>(method: impl Fn(S) -> R) -> impl Fn(&Ruby, S) -> Result<R::Value, Error> {
    move |ruby: &Ruby, rb_self: S| guarded(ruby, || method(rb_self).returned())
}

macro_rules! entries {
    ($($name:ident: $($argument:ident $type:ident),*;)+) => {
        $(#[doc = "As its name says: a function or a method with so many arguments."]
        pub fn $name<$($type,)* R: Returned>(
            method: impl Fn(&Ruby, $($type),*) -> R,
        ) -> impl Fn(&Ruby, $($type),*) -> Result<R::Value, Error> {
            move |ruby: &Ruby, $($argument: $type),*| guarded(ruby, || method(ruby, $($argument),*).returned())
        })+
    };
}

entries! {
    function0: ;
    function1: a A;
    function2: a A, b B;
    function3: a A, b B, c C;
    function4: a A, b B, c C, d D;
    function5: a A, b B, c C, d D, e E;
    method0: rb_self S;
    method1: rb_self S, a A;
    method2: rb_self S, a A, b B;
    method3: rb_self S, a A, b B, c C;
    method4: rb_self S, a A, b B, c C, d D;
}
