//! The right that a user lacks when Redis refuses a command with NOPERM. Redis 7.0 names neither the key nor the user.

use redis::{Arg, Cmd, RedisError, Value, parse_redis_value};

/// The commands whose first argument is the name of a subcommand.
const WITH_SUBCOMMANDS: [&str; 8] =
    ["acl", "client", "cluster", "config", "memory", "sentinel", "xgroup", "xinfo"];
/// The commands that have no key.
const WITHOUT_KEYS: [&str; 10] =
    ["acl", "client", "cluster", "config", "info", "ping", "role", "select", "sentinel", "time"];

/// Adds the rule that the user needs to a refusal of `command` for want of a right. Returns other replies as they are.
pub fn explained(reply: Value, command: &Cmd) -> Value {
    match reply {
        Value::ServerError(error) if error.code() == "NOPERM" => {
            let (key, rights) = needed(command);
            told(error.details(), &key, &rights).unwrap_or(Value::ServerError(error))
        }
        reply => reply,
    }
}

/// Adds the rule that the user needs to an error of `command`, if that is for want of a right.
pub fn of_command(error: RedisError, command: &Cmd) -> RedisError {
    if error.code() != Some("NOPERM") {
        return error;
    }
    let (key, rights) = needed(command);
    with_rule(&error, &key, &rights)
}

/// Adds the rule with these `rights` on `key` to a refusal for want of a right. Returns other errors as they are.
pub fn with_rule(error: &RedisError, key: &str, rights: &str) -> RedisError {
    let is_of_rights = error.code() == Some("NOPERM");
    let told = if is_of_rights { told(error.detail(), key, rights) } else { None };
    told.and_then(|reply| reply.extract_error().err()).unwrap_or_else(|| error.clone())
}

/// Returns the refusal as Redis would have written it with the rule.
fn told(detail: Option<&str>, key: &str, rights: &str) -> Option<Value> {
    let on_key = if key.is_empty() { String::new() } else { format!("~{} ", key.escape_debug()) };
    let detail = detail.unwrap_or_default();
    parse_redis_value(format!("-NOPERM {detail} (the user needs ({on_key}{rights}))\r\n").as_bytes()).ok()
}

/// Returns the key of a command, if it has one, and the rights that it needs.
fn needed(command: &Cmd) -> (String, String) {
    let words: Vec<String> = command
        .args_iter()
        .map(|word| match word {
            Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        })
        .collect();
    let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
    let name = word(0).to_lowercase();
    let has_subcommand = WITH_SUBCOMMANDS.contains(&name.as_str());
    let right =
        if has_subcommand { format!("+{name}|{}", word(1).to_lowercase()) } else { format!("+{name}") };
    let key = match name.as_str() {
        "eval" | "eval_ro" | "blmpop" => word(3),
        "xread" | "xreadgroup" => {
            let streams = words.iter().position(|word| word.eq_ignore_ascii_case("STREAMS"));
            streams.map(|at| word(at + 1)).unwrap_or_default()
        }
        keyless if WITHOUT_KEYS.contains(&keyless) => "",
        _ => word(1 + usize::from(has_subcommand)),
    };
    (key.to_owned(), right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_rule_and_other_replies_stay() {
        let refusal = parse_redis_value(b"-NOPERM no permissions\r\n").unwrap();
        for (words, rule) in [
            (&["XACK", "a b", "g"][..], "(~a b +xack)"),
            (&["XINFO", "GROUPS", "s"], "(~s +xinfo|groups)"),
            (&["EVAL", "return 1", "1", "k"], "(~k +eval)"),
            (&["XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">"], "(~s +xreadgroup)"),
            (&["BLMPOP", "5", "1", "q", "RIGHT"], "(~q +blmpop)"),
            (&["CLUSTER", "SLOTS"], "(+cluster|slots)"),
            (&["SENTINEL", "master", "house"], "(+sentinel|master)"),
            (&["TIME"], "(+time)"),
            (&["INFO", "commandstats"], "(+info)"),
            (&["XACK", "a\r\nb"], "(~a\\r\\nb +xack)"),
        ] {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            let told = explained(refusal.clone(), &command).extract_error().unwrap_err();
            assert_eq!(told.code(), Some("NOPERM"));
            assert_eq!(told.detail(), Some(format!("no permissions (the user needs {rule})").as_str()));
        }
        let other = parse_redis_value(b"-ERR no\r\n").unwrap();
        assert_eq!(explained(other.clone(), &redis::cmd("TIME")), other);
        assert_eq!(explained(Value::Int(1), &redis::cmd("TIME")), Value::Int(1));
    }
}
