//! The classes of the objects that are defined here.

use magnus::{Ruby, TypedData};

/// magnus looks the class of a wrapped type up on first use, in Ruby and under a lock that does not know the GVL: two
/// threads that come first together wait for each other for ever (seen). Here there is one thread yet.
pub fn settle_class<T: TypedData>(ruby: &Ruby) {
    T::class(ruby);
}

/// Defines the class of a wrapped type; only Rust makes its objects. Each row is a method: its name, and what it
/// returns or runs. The rows stand in this order:
///
/// - `own`: functions of the class, with how many arguments they take and the function of [`crate::ruby::entry`] that
///   makes them safe;
/// - `get`: what the object holds, which needs no Ruby;
/// - `read`: what the [`crate::ruby::process_bound::ProcessBound`] in it returns at once, in its own process;
/// - `ask`: the same for one argument;
/// - those without a word: methods, as the functions.
macro_rules! class {
    ($ruby:ident, $native:ident, $name:literal: $type:ty {
        $(own $function:literal, $count:tt => $maker:ident($made:expr);)*
        $(get $getter:literal => |$of:ident| $got:expr;)*
        $(read $reader:literal => |$part:pat_param| $read:expr;)*
        $(ask $asker:literal => |$asked:pat_param, $argument:ident: $given:ty| $told:expr;)*
        $($method:literal, $arity:tt => $entry:ident($body:expr);)*
    }) => {{
        use $crate::ruby::entry;
        let class = $native.define_class($name, $ruby.class_object())?;
        class.undef_default_alloc_func();
        $(class.define_singleton_method($function, magnus::function!(entry::$maker($made), $count))?;)*
        $(class.define_method($getter, magnus::method!(entry::getter(|$of: &$type| $got), 0))?;)*
        $(class.define_method($reader, magnus::method!(entry::method0(|ruby: &Ruby, it: &$type| {
            let $part = it.0.get(ruby)?;
            Ok::<_, magnus::Error>($read)
        }), 0))?;)*
        $(class.define_method($asker, magnus::method!(entry::method1(|ruby: &Ruby, it: &$type, $argument: $given| {
            let $asked = it.0.get(ruby)?;
            Ok::<_, magnus::Error>($told)
        }), 1))?;)*
        $(class.define_method($method, magnus::method!(entry::$entry($body), $arity))?;)*
        $crate::ruby::classes::settle_class::<$type>($ruby);
    }};
}

/// As `class!`, for what holds a part of the core that runs: with the methods that each of them has.
macro_rules! running_class {
    ($ruby:ident, $native:ident, $name:literal: $type:ty {
        $(own $function:literal, $count:tt => $maker:ident($made:expr);)*
        $(read $reader:literal => |$part:pat_param| $read:expr;)*
        $(ask $asker:literal => |$asked:pat_param, $argument:ident: $given:ty| $told:expr;)*
        $($method:literal, $arity:tt => $entry:ident($body:expr);)*
    }) => {
        $crate::ruby::classes::class!($ruby, $native, $name: $type {
            $(own $function, $count => $maker($made);)*
            get "inherited_sockets" => |it| it.0.inherited_sockets();
            get "connected?" => |it| it.0.is_connected();
            $(read $reader => |$part| $read;)*
            $(ask $asker => |$asked, $argument: $given| $told;)*
            "next_report", 0 => method0(|ruby: &Ruby, it: &$type| it.0.next_report(ruby));
            "stats", 0 => method0(|ruby: &Ruby, it: &$type| it.0.stats(ruby));
            "quiet", 0 => method0(|ruby: &Ruby, it: &$type| it.0.quiet(ruby));
            "close", 0 => method0(|ruby: &Ruby, it: &$type| it.0.close(ruby));
            $($method, $arity => $entry($body);)*
        })
    };
}

pub(crate) use {class, running_class};
