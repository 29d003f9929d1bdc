//! Wrappers for the functions that Ruby calls, one for each number of arguments. Every method is defined with one of
//! them.
//!
//! A wrapper turns a panic into an InternalError. (magnus would raise `fatal`, which ends the process.)
//! [`crate::ruby::process_bound`] checks that a value belongs to this process and not to its parent.

use crate::ruby::gvl::guarded;
use magnus::{Error, IntoValue, RString, Ruby};

/// The type of a method's return value.
pub trait Returned {
    /// The value that Ruby gets.
    type Value: IntoValue;

    /// Returns it as a Result.
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

/// Wraps a method that only reads its object.
pub fn getter<S, R: Returned>(method: impl Fn(S) -> R) -> impl Fn(&Ruby, S) -> Result<R::Value, Error> {
    move |ruby: &Ruby, rb_self: S| guarded(ruby, || method(rb_self).returned())
}

macro_rules! entries {
    ($($name:ident: $($argument:ident $type:ident),*;)+) => {
        $(#[doc = "Wraps a function or a method with as many arguments as the name says."]
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
