//! The right that a user lacks when Redis refuses a command with NOPERM. Redis 7.0 names neither the key nor the user.

use redis::{Arg, Cmd, RedisError, Value, parse_redis_value};

/// The commands whose first argument is the name of a subcommand.
const WITH_SUBCOMMANDS: [&str; 8] =
    ["acl", "client", "cluster", "config", "memory", "sentinel", "xgroup", "xinfo"];
/// The commands that have no key.
const WITHOUT_KEYS: [&str; 10] =
    ["acl", "client", "cluster", "config", "info", "ping", "role", "select", "sentinel", "time"];

/// What Redis says if it refuses a command of a script for want of a right: Redis 7.0, and newer ones and Valkey.
const IN_SCRIPT: [&str; 2] = ["The user executing the script", "ACL failure in script"];

/// Adds the rule that the user needs to a refusal of `command` for want of a right. Returns other replies as they are.
pub fn explained(reply: Value, command: &Cmd) -> Value {
    match reply {
        Value::ServerError(error) if is_of_script(error.details()) => {
            let (key, rights) = needed_in_script(command);
            told(error.details(), &key, &rights).unwrap_or(Value::ServerError(error))
        }
        Value::ServerError(error) if error.code() == "NOPERM" => {
            let (key, rights) = needed(command);
            told(error.details(), &key, &rights).unwrap_or(Value::ServerError(error))
        }
        reply => reply,
    }
}

/// Adds the rule that the user needs to an error of `command`, if that is for want of a right.
pub fn of_command(error: RedisError, command: &Cmd) -> RedisError {
    if is_of_script(error.detail()) {
        let (key, rights) = needed_in_script(command);
        let told = told(error.detail(), &key, &rights);
        return told.and_then(|reply| reply.extract_error().err()).unwrap_or(error);
    }
    if error.code() != Some("NOPERM") {
        return error;
    }
    let (key, rights) = needed(command);
    with_rule(&error, &key, &rights)
}

fn is_of_script(detail: Option<&str>) -> bool {
    detail.is_some_and(|detail| IN_SCRIPT.iter().any(|words| detail.contains(words)))
}

/// Returns the first key of a script, and the rights that its commands need. Redis names the script alone.
fn needed_in_script(script: &Cmd) -> (String, String) {
    let words = words(script);
    let text = words.get(1).map(String::as_str).unwrap_or_default();
    let mut rights: Vec<String> = Vec::new();
    for call in text.split("call('").skip(1) {
        let mut arguments = call.split('\'').step_by(2);
        let name = arguments.next().unwrap_or_default().to_lowercase();
        let second = arguments.next().unwrap_or_default().to_lowercase();
        let has_subcommand = WITH_SUBCOMMANDS.contains(&name.as_str());
        let right = if has_subcommand { format!("+{name}|{second}") } else { format!("+{name}") };
        if !rights.contains(&right) {
            rights.push(right);
        }
    }
    (words.get(3).cloned().unwrap_or_default(), rights.join(" "))
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
    let words = words(command);
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

fn words(command: &Cmd) -> Vec<String> {
    let word = |word: Arg<&[u8]>| match word {
        Arg::Simple(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    command.args_iter().map(word).collect()
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
        let mut script = redis::cmd("EVAL");
        let text = "local a = redis.call('XINFO', 'STREAM', KEYS[1]) redis.pcall('XADD', KEYS[1]) redis.call('XADD')";
        script.arg(text).arg(1).arg("k");
        for text in [
            "-ERR The user executing the script can't run this command or subcommand script: 1\r\n",
            "-NOPERM ACL failure in script: User u has no permissions to run the 'xadd' command\r\n",
        ] {
            let told =
                explained(parse_redis_value(text.as_bytes()).unwrap(), &script).extract_error().unwrap_err();
            assert!(told.detail().unwrap().ends_with("(the user needs (~k +xinfo|stream +xadd))"), "{told}");
            assert_eq!(told.code(), Some("NOPERM"));
        }
        let other = parse_redis_value(b"-ERR no\r\n").unwrap();
        assert_eq!(explained(other.clone(), &redis::cmd("TIME")), other);
        assert_eq!(explained(Value::Int(1), &redis::cmd("TIME")), Value::Int(1));
    }
}
