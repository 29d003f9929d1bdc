//! User names and passwords that the program supplies at each login.
//!
//! The core contains no code of the user, so it requests them over a queue. The program that runs the engine takes
//! the requests in a thread of its own, and may take its time: the attempt to connect has a deadline.

use crate::foundation::net::attempt::Attempt;
use crate::foundation::runtime::reports::Mailbox;
use crossbeam_channel::{RecvTimeoutError, SendError, Sender, bounded};
use std::io;

/// The sending end of the queue of login requests.
#[derive(Debug, Clone)]
pub struct Logins(Sender<LoginRequest>);

/// A login that waits for values.
#[derive(Debug)]
pub struct LoginRequest {
    /// The options whose values are asked for.
    pub names: Vec<&'static str>,
    /// The user's name, if it is known already.
    pub username: String,
    attempt: Attempt,
    reply: Sender<Result<Vec<String>, String>>,
}

impl LoginRequest {
    /// Whether the login still waits.
    pub fn is_wanted(&self) -> bool {
        self.attempt.slice(None).is_ok()
    }

    /// Supplies the values, in the order of the names.
    pub fn answer(&self, values: Vec<String>) {
        self.reply(Ok(values));
    }

    /// Refuses to supply the values. `why` is shown in the error, so it must hold no secret.
    pub fn refuse(&self, why: String) {
        self.reply(Err(why));
    }

    fn reply(&self, reply: Result<Vec<String>, String>) {
        // The login may have given up.
        let _ = self.reply.try_send(reply);
    }
}

impl Logins {
    /// Puts the requests into `queue`. Any number of threads may take from it; what [`LoginRequest::is_wanted`] no more
    /// they skip.
    pub fn new(queue: &Mailbox<LoginRequest>) -> Self {
        Self(queue.sender())
    }

    /// Requests the values of the options `names` for the user `username`. Waits for them as long as `attempt` lasts.
    ///
    /// # Errors
    ///
    /// The program refuses the values or does not supply them in time. The text names the options.
    pub fn ask(&self, names: &[&'static str], username: &str, attempt: &Attempt) -> io::Result<Vec<String>> {
        let failure = |why: &str| {
            let options: Vec<String> = names.iter().map(|name| format!("redis_options.{name}")).collect();
            io::Error::other(format!("the Proc given as {} {why}", options.join(" and ")))
        };
        let (reply, answer) = bounded(1);
        let username = username.to_owned();
        let request = LoginRequest { names: names.to_vec(), username, attempt: attempt.clone(), reply };
        if let Err(SendError(_)) = self.0.send(request) {
            return Err(failure("cannot be called any more"));
        }
        loop {
            let slice = attempt.slice(None).map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => failure("did not return within connect_timeout"),
                _ => error,
            })?;
            match answer.recv_timeout(slice) {
                Ok(Ok(values)) if values.len() == names.len() => return Ok(values),
                Ok(Ok(_)) => return Err(failure("gave too few values")),
                Ok(Err(why)) => return Err(failure(&why)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(failure("cannot be called any more")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::net::attempt::Closing;
    use crate::foundation::runtime::reports::Fetched;
    use std::time::Duration;

    const NAMES: [&str; 2] = ["username", "password"];

    fn attempt(ms: u64) -> Attempt {
        Attempt::new(Duration::from_millis(ms), &Closing::default())
    }

    #[test]
    fn values_and_refusals_reach_the_login_that_asked() {
        let requests = Mailbox::default();
        let logins = Logins::new(&requests);
        let (_keep, never) = bounded(1);
        let take = || match requests.fetch(&never) {
            Fetched::Message(request) => request,
            other => panic!("{other:?}"),
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let request = take();
                assert_eq!((&request.names[..], &*request.username), (&NAMES[..], "ann"));
                request.answer(vec!["ann".into(), "s3cret".into()]);
                take().refuse("raised KeyError".into());
            });
            assert_eq!(logins.ask(&NAMES, "ann", &attempt(60_000)).unwrap(), ["ann", "s3cret"]);
            let refused = logins.ask(&NAMES[1..], "ann", &attempt(60_000)).unwrap_err().to_string();
            assert_eq!(refused, "the Proc given as redis_options.password raised KeyError");
        });
    }

    #[test]
    fn nobody_waits_for_a_value_that_does_not_come_and_it_is_not_asked_for_later() {
        let requests = Mailbox::default();
        let logins = Logins::new(&requests);
        let late = logins.ask(&NAMES[1..], "ann", &attempt(10)).unwrap_err().to_string();
        assert!(late.ends_with("did not return within connect_timeout"), "{late}");
        requests.close();
        let (_keep, never) = bounded(1);
        assert!(matches!(requests.fetch(&never), Fetched::Message(request) if !request.is_wanted()));
        assert!(matches!(requests.fetch(&never), Fetched::Closed));
        assert!(matches!(requests.fetch(&never), Fetched::Closed), "for every thread");
        drop(requests);
        assert!(logins.ask(&NAMES, "ann", &attempt(60_000)).is_err());
    }
}
