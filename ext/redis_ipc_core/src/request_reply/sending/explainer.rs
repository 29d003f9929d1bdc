//! The errors of calls whose deadline passed: which process has the request, or why nobody took it.

use crate::error::{Error, ErrorKind};
use crate::foundation::redis::resp::replies::PendingEntry;
use crate::foundation::runtime::news::News;
use crate::foundation::runtime::nudge::Nudge;
use crate::foundation::runtime::sync::Mutex;
use crate::request_reply::membership::instance::Instance;
use crate::request_reply::membership::presence::Presence;
use crate::request_reply::membership::registry::Registry;
use crate::request_reply::tracking::ledger::Ticket;
use crate::request_reply::tracking::whereabouts::Whereabouts;
use redis::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For how long the list of the living instances explains timeouts.
const FRESH: Duration = Duration::from_secs(1);
/// The most groups that an error names.
const MOST_NAMED: usize = 10;

/// Ends calls whose requests were withdrawn, with an error that names instances. The housekeeper reads these from
/// Redis, because the thread that learns of the withdrawal writes and must not wait.
pub struct Explainer {
    instance: Arc<Instance>,
    registry: Arc<Registry>,
    waiting: Mutex<Vec<Arc<Ticket>>>,
    nudge: Arc<Nudge>,
    /// The living instances, and when they were read.
    living: Mutex<Option<(Instant, Arc<[Presence]>)>>,
    refusals: News,
    unlisted: News,
}

impl Explainer {
    /// Creates the explainer of the calls of `instance`. `nudge` wakes the housekeeper.
    pub fn new(instance: Arc<Instance>, registry: Arc<Registry>, nudge: Arc<Nudge>) -> Self {
        let (waiting, living) = (Mutex::default(), Mutex::default());
        let (refusals, unlisted) = (News::default(), News::default());
        Self { instance, registry, waiting, nudge, living, refusals, unlisted }
    }

    /// Ends a call whose request was withdrawn: at once if there is nothing to explain, else soon.
    pub fn explain(&self, ticket: &Arc<Ticket>) {
        if ticket.whereabouts() == Whereabouts::Unknown {
            self.finish(ticket, None);
            return;
        }
        self.waiting.lock().push(Arc::clone(ticket));
        self.nudge.give();
    }

    /// Ends the calls that wait. It asks Redis for the living instances unless it knows them.
    pub fn run(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return;
        }
        let living = self.living();
        waiting.iter().for_each(|ticket| self.finish(ticket, living.as_deref()));
    }

    /// Ends the calls that wait, without asking Redis.
    pub fn end(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.iter().for_each(|ticket| self.finish(ticket, None));
    }

    /// Tells the user once if Redis does not say who holds a request.
    pub fn refused(&self, pending: &Value, group: &str) {
        let Value::ServerError(error) = pending else { return };
        if error.code() != "NOPERM" {
            return;
        }
        let inbox = self.instance.names.keys.inbox(group);
        let message = format!(
            "Redis refuses XPENDING {inbox}, so a TimeoutError cannot say which process has the request; add \
             (%R~{inbox} +xpending) to the rules of the user (ACL SETUSER)"
        );
        let endpoint = &self.instance.endpoint;
        endpoint.report_news(Error::new(ErrorKind::Command(crate::Fate::Unknown), message), &self.refusals);
    }

    fn finish(&self, ticket: &Ticket, living: Option<&[Presence]>) {
        ticket.finish(Err(timed_out(ticket, &ticket.whereabouts(), living, &self.instance)));
    }

    fn living(&self) -> Option<Arc<[Presence]>> {
        let known = self.living.lock().clone();
        if let Some((read, living)) = known
            && read.elapsed() < FRESH
        {
            return Some(living);
        }
        let living: Arc<[Presence]> = match self.registry.list() {
            Ok(living) => living.into(),
            Err(error) => {
                // If Redis cannot be reached, others report it.
                if error.is_missing_right() {
                    let message = format!("a TimeoutError cannot say who is alive: {}", error.message);
                    self.instance.endpoint.report_news(Error { message, ..error }, &self.unlisted);
                }
                return None;
            }
        };
        *self.living.lock() = Some((Instant::now(), Arc::clone(&living)));
        Some(living)
    }
}

/// Returns the error of a call whose deadline passed. `living` are the instances of the stream, if they are known.
pub fn timed_out(
    ticket: &Ticket,
    whereabouts: &Whereabouts,
    living: Option<&[Presence]>,
    instance: &Instance,
) -> Error {
    let waited = ticket.deadline.duration_since(ticket.asked).as_secs_f64();
    let what = describe(whereabouts, &ticket.to, living);
    let message = format!("no answer from {:?} within {waited:.3} s: {what}", ticket.to);
    instance
        .error(ErrorKind::Timeout(whereabouts.fate()), message, &ticket.to)
        .entry(ticket.id)
        .address(instance.endpoint.connector.address())
}

fn describe(whereabouts: &Whereabouts, group: &str, living: Option<&[Presence]>) -> String {
    const WITHDRAWN: &str = "was withdrawn, and did not and will not run";
    let members = |living: &[Presence]| living.iter().filter(|presence| presence.group == group).count();
    match whereabouts {
        Whereabouts::NotSent => "the request never reached Redis, so it did not run".to_owned(),
        Whereabouts::Unknown => {
            "an instance may have taken the request: whether it ran is not known".to_owned()
        }
        Whereabouts::Taken(held) => {
            let who = holder(held, living);
            format!("{who} took the request (delivery {}): whether it ran is not known", held.deliveries)
        }
        Whereabouts::NotTaken => {
            let text = format!("no instance took the request, so it {WITHDRAWN}");
            match living.map(members) {
                None => text,
                Some(0) => format!("{text}; no instance of this group is alive"),
                Some(1) => {
                    format!(
                        "{text}; 1 instance of this group is alive, and did not get to it: it is busy, or hangs"
                    )
                }
                Some(many) => format!(
                    "{text}; {many} instances of this group are alive, and did not get to it: they are busy, or hang"
                ),
            }
        }
        Whereabouts::NoGroup => {
            let text = format!("no instance of this group takes requests, so this one {WITHDRAWN}");
            match living.map(|living| (members(living), living)) {
                None => text,
                Some((0, living)) => format!("{text}; {}", census(group, living)),
                Some((1, _)) => format!("{text}; the 1 instance of this group has no handler (on_request)"),
                Some((many, _)) => {
                    format!("{text}; the {many} instances of this group have no handler (on_request)")
                }
            }
        }
    }
}

/// Names the process that holds a request.
fn holder(held: &PendingEntry, living: Option<&[Presence]>) -> String {
    let found = living.and_then(|living| living.iter().find(|presence| presence.instance == held.consumer));
    match (found, living) {
        (Some(found), _) => format!("the process {} on {:?}", found.pid, found.host),
        (None, Some(_)) => format!("the instance {:?}, which is not alive any more,", held.consumer),
        (None, None) => format!("the instance {:?}", held.consumer),
    }
}

/// Names the groups that are alive, and the one whose name is like `group`.
fn census(group: &str, living: &[Presence]) -> String {
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    living.iter().for_each(|presence| *groups.entry(&presence.group).or_default() += 1);
    let named = groups
        .iter()
        .take(MOST_NAMED)
        .map(|(name, count)| format!("{name:?} ({count} instance{})", if *count == 1 { "" } else { "s" }));
    let mut text = format!("alive are {}", named.collect::<Vec<_>>().join(", "));
    if groups.len() > MOST_NAMED {
        let _ = write!(text, " and {} groups more", groups.len() - MOST_NAMED);
    }
    let serving = living.iter().filter(|presence| presence.serves).map(|presence| presence.group.as_str());
    // Names that differ in more than a quarter of their letters, and in more than one, are other names.
    let likely = serving
        .map(|name| (strsim::osa_distance(name, group), name))
        .filter(|(distance, name)| *distance <= 1.max(name.chars().count() / 4))
        .min();
    if let Some((_, name)) = likely {
        let _ = write!(text, "; did you mean {name:?}?");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn living(rows: &[(&str, &str, bool)]) -> Vec<Presence> {
        let row = |(group, instance, serves): &(&str, &str, bool)| Presence {
            group: (*group).to_owned(),
            instance: (*instance).to_owned(),
            host: "web-7".to_owned(),
            pid: 42,
            seen: 0,
            serves: *serves,
            lease: None,
        };
        rows.iter().map(row).collect()
    }

    #[test]
    fn a_name_that_is_nearly_that_of_a_group_that_serves_is_suggested() {
        let all = living(&[("child", "a", true), ("child", "b", true), ("chips", "c", false)]);
        for (asked, expected) in
            [("chidl", Some("child")), ("Child", Some("child")), ("chip", None), ("dog", None)]
        {
            let text = census(asked, &all);
            assert!(text.starts_with(r#"alive are "child" (2 instances), "chips" (1 instance)"#), "{text}");
            let suggested = expected.map(|name| format!("; did you mean {name:?}?"));
            assert_eq!(text.split_once("; did").map(|(_, end)| format!("; did{end}")), suggested, "{asked}");
        }
    }

    #[test]
    fn many_groups_are_not_all_named() {
        let names: Vec<String> = (0..12).map(|number| format!("group-{number:02}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), "a", true)).collect();
        assert!(census("x", &living(&rows)).ends_with(r#""group-09" (1 instance) and 2 groups more"#));
    }

    #[test]
    fn who_has_a_request_is_named_as_far_as_it_is_known() {
        let held = PendingEntry { id: Default::default(), consumer: "7f".to_owned(), deliveries: 2 };
        let all = living(&[("child", "7f", true)]);
        let told = |living| describe(&Whereabouts::Taken(held.clone()), "child", living);
        let end = "took the request (delivery 2): whether it ran is not known";
        assert_eq!(told(Some(&all)), format!(r#"the process 42 on "web-7" {end}"#));
        assert_eq!(told(Some(&[])), format!(r#"the instance "7f", which is not alive any more, {end}"#));
        assert_eq!(told(None), format!(r#"the instance "7f" {end}"#));
    }
}
