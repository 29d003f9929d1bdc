//! A Rust program as a member of a stream. It answers the requests of its group, or asks another group.
//!
//!     cargo run --example member -- house child               # answers until its standard input ends
//!     cargo run --example member -- house parent child '"Hello"'  # asks once
//!
//! `REDIS_URL` names the Redis.

use redis_ipc_core::request_reply::Engine;
use redis_ipc_core::request_reply::Options;
use redis_ipc_core::request_reply::Waited;
use redis_ipc_core::request_reply::{Context, Question, Status};
use redis_ipc_core::{Interrupt, Running, Taken};
use std::error::Error;
use std::io::{Read, stdin};
use std::thread;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let url = std::env::var("REDIS_URL").ok();
    let options = Options::parse(serde_json::json!({}), url.as_deref(), &[])?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [stream, group] => serve(&Engine::start(stream, group, options, true)?),
        [stream, group, to, content] => ask(&Engine::start(stream, group, options, false)?, to, content),
        _ => Err("usage: member STREAM GROUP [TO CONTENT]".into()),
    }
}

/// Asks `to` and prints the answer.
fn ask(engine: &Engine, to: &str, content: &str) -> Result<(), Box<dyn Error>> {
    let question =
        Question { to: to.to_owned(), content: content.as_bytes().to_vec(), context: Context::default() };
    let ticket = engine.calls.ask(question, Some(Duration::from_secs(5)))?;
    if let Waited::Done(outcome) = engine.calls.wait(&ticket, None, &Interrupt::default()) {
        let answer = outcome?;
        println!("{}: {}", answer.status.name(), String::from_utf8_lossy(&answer.content.share()));
    }
    engine.close();
    Ok(())
}

/// Answers until standard input ends.
fn serve(engine: &Engine) -> Result<(), Box<dyn Error>> {
    println!("ready");
    let handlers = engine.options().consumer.pool_size;
    thread::scope(|scope| {
        (0..handlers).for_each(|_| drop(scope.spawn(|| answer_requests(engine))));
        stdin().read_to_end(&mut Vec::new())?;
        // The handlers end once no more requests come.
        engine.quiet();
        Ok::<_, std::io::Error>(())
    })?;
    engine.close();
    Ok(())
}

fn answer_requests(engine: &Engine) {
    let service = &engine.service;
    while let Taken::Request(held) = service.take(&Interrupt::default()) {
        let (status, content) =
            match serde_json::from_slice::<serde_json::Value>(&held.request.content.share()) {
                Ok(serde_json::Value::String(text)) => (Status::Fulfilled, format!("You said: {text}")),
                _ => (Status::Rejected, "I only understand text".to_owned()),
            };
        let content = serde_json::Value::String(content).to_string().into_bytes();
        if let Err(error) = service.answer(&held, status, content, None) {
            eprintln!("{error}");
        }
    }
}
