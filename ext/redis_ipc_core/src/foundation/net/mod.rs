//! Sockets: addresses, the resolution of names, attempts to connect, TLS.

pub mod address;
pub mod attempt;
pub mod dialer;
pub mod end_point;
pub mod resolver;
pub mod socket;
pub mod tls;
