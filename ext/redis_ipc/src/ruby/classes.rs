//! Defines the Ruby classes of wrapped Rust types.

use magnus::{Ruby, TypedData};

/// Looks up the class of a wrapped type while the process has one thread. magnus otherwise does so on first use, by
/// calling Ruby under a lock that knows nothing of the GVL. Two threads that get there at the same time then wait for
/// each other for ever; this has happened.
pub fn settle_class<T: TypedData>(ruby: &Ruby) {
    T::class(ruby);
}

/// Defines the class of a wrapped type. Only Rust creates its objects. Each row defines one method: its name, and what
/// it returns or runs. The rows must be in this order:
///
/// - `own`: methods of the class, each with the number of its arguments, and the function of [`crate::ruby::entry`]
///   that makes it safe to call;
/// - `get`: methods that only read the object and need no Ruby;
/// - `read`: methods that read the value of the [`crate::ruby::process_bound::ProcessBound`] in the object, and do not
///   wait;
/// - `ask`: the same with one argument;
/// - without a word: other methods, in the form of `own`.
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

/// Like `class!`, for the object of a [`redis_ipc_core::Running`] part of the core. Adds the methods that all of them
/// have.
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
            "details", 0 => method0(|ruby: &Ruby, it: &$type| it.0.details(ruby));
            "quiet", 0 => method0(|ruby: &Ruby, it: &$type| it.0.quiet(ruby));
            "close", 0 => method0(|ruby: &Ruby, it: &$type| it.0.close(ruby));
            $($method, $arity => $entry($body);)*
        })
    };
}

pub(crate) use {class, running_class};
