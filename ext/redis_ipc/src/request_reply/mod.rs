//! What `RedisIPC::Stream` calls: the engine, and the calls, answers and requests that it returns.

pub mod answer;
pub mod call;
pub mod context;
pub mod dead_letters;
pub mod engine;
pub mod lazy_content;
pub mod presence;
pub mod request;
