//! Reads a URL of PostgreSQL.

/// Returns the options that a URL says, by the names of libpq.
///
/// # Errors
///
/// It is no such URL. The text shows nothing of it.
pub fn parse(url: &str) -> Result<Vec<(String, String)>, &'static str> {
    let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or("the URL must begin with postgres:// or postgresql://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = place.rsplit_once('@').unwrap_or(("", place));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        // The colons of an IPv6 address are in brackets.
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (host, ""),
        };
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    let mut found = Vec::new();
    for (name, value) in [("user", user), ("password", password), ("dbname", database)] {
        found.push((name.to_owned(), decode(value)?));
    }
    for (name, list) in [("host", names), ("port", ports)] {
        found.push((name.to_owned(), list.join(",")));
    }
    found.retain(|(_, value)| value.split(',').any(|part| !part.is_empty()));
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').ok_or("an option of the URL has no value")?;
        let (name, value) = (decode(name)?, decode(value)?);
        found.retain(|(known, _)| *known != name);
        found.push((name, value));
    }
    Ok(found)
}

fn decode(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "the URL has a % that is not followed by two hexadecimal digits";
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>().ok_or(WRONG)?;
        let digits = std::str::from_utf8(digits).map_err(|_| WRONG)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| WRONG)?);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| "the URL is no UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> String {
        let mut found: Vec<String> =
            parse(url).unwrap().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        found.sort();
        found.join(" ")
    }

    #[test]
    fn the_parts_of_a_url_are_found() {
        assert_eq!(parsed("postgres://"), "");
        assert_eq!(parsed("postgresql://h/d"), "dbname=d host=h");
        assert_eq!(parsed("postgres://u@[::1]:7/d"), "dbname=d host=[::1] port=7 user=u");
        assert_eq!(parsed("postgres://a:1,b:2/d"), "dbname=d host=a,b port=1,2");
        assert_eq!(parsed("postgres://u:p@/d?host=%2Frun%2Fpg"), "dbname=d host=/run/pg password=p user=u");
        assert_eq!(parsed("postgres://%2Frun%2Fpg/d"), "dbname=d host=/run/pg");
        for url in ["redis://h", "postgres://h/%x", "postgres://h/%ff", "postgres://h?x"] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
