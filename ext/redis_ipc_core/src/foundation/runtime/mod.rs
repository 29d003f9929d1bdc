//! Threads, locks, waiting and waking, queues, counters, histograms and reports. No module in here talks to a server.

pub mod backoff;
pub mod busy_poll;
pub mod failpoint;
pub mod handling;
pub mod health;
pub mod histogram;
pub mod id_source;
pub mod incidents;
pub mod losses;
pub mod news;
pub mod nudge;
pub mod open_sockets;
pub mod read_ahead;
pub mod reports;
pub mod series;
pub mod shared_reader;
pub mod staggered_wake;
pub mod stats;
pub mod stop;
pub mod sync;
pub mod threads;
pub mod waiting;
pub mod waker;
pub mod work_queue;
