//! The right that a user lacks when Redis refuses a command with NOPERM. Redis 7.0 names neither the key nor the user.

use redis::{Arg, Cmd, RedisError, Value, parse_redis_value};

/// The commands whose first argument is the name of a subcommand.
const WITH_SUBCOMMANDS: [&str; 6] = ["acl", "client", "config", "memory", "xgroup", "xinfo"];

/// Adds the rule that the user needs to a refusal of `command` for want of a right. Returns other replies as they are.
pub fn explained(reply: Value, command: &Cmd) -> Value {
    match reply {
        Value::ServerError(error) if error.code() == "NOPERM" => {
            let (key, rights) = needed(command);
            let error = with_rule(&error.into(), &key, &rights);
            // It was a refusal, and is one still.
            parse(&error).unwrap_or(Value::Nil)
        }
        reply => reply,
    }
}

/// Adds the rule with these `rights` on `key` to a refusal for want of a right. Returns other errors as they are.
pub fn with_rule(error: &RedisError, key: &str, rights: &str) -> RedisError {
    if error.code() != Some("NOPERM") {
        return error.clone();
    }
    let on_key = if key.is_empty() { String::new() } else { format!("~{} ", key.escape_debug()) };
    let detail = format!("{} (the user needs ({on_key}{rights}))", error.detail().unwrap_or_default());
    let told = parse_redis_value(format!("-NOPERM {detail}\r\n").as_bytes()).and_then(Value::extract_error);
    told.err().unwrap_or_else(|| error.clone())
}

fn parse(error: &RedisError) -> Option<Value> {
    parse_redis_value(format!("-NOPERM {}\r\n", error.detail()?).as_bytes()).ok()
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
        "eval" | "eval_ro" => word(3),
        "xread" | "xreadgroup" => {
            let streams = words.iter().position(|word| word.eq_ignore_ascii_case("STREAMS"));
            streams.map(|at| word(at + 1)).unwrap_or_default()
        }
        "acl" | "client" | "config" | "info" | "ping" | "time" => "",
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
