//! The file of passwords that libpq reads, too: lines of `host:port:database:user:password`.

use crate::foundation::net::address::Address;
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::settings::Password;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The most bytes of the file that are read.
const MOST: u64 = 1 << 20;
/// What stands for any value.
const ANY: &str = "*";

/// Returns the password of the first line that fits. It is read at each login, so a password may change.
///
/// # Errors
///
/// Others than its owner may read the file. A file that is not there is none.
pub fn find(path: &Path, address: &Address, database: &str, user: &str) -> Result<Option<Password>, Failure> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Failure::Login(
            "the server asks for a password, and the file of passwords (PGPASSFILE, ~/.pgpass) is not used because others \
             may read it: run chmod 0600 on it",
        ));
    }
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text)?;
    Ok(among(&text, &place(address), database, user).map(Password::new))
}

/// Returns how the file names a server: its host, where a socket in a usual folder is localhost, and its port.
fn place(address: &Address) -> (String, String) {
    match address {
        Address::Tcp(host, port) => (host.clone(), port.to_string()),
        Address::Unix(path) => {
            let folder = path.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
            let is_usual = super::settings::SOCKETS.contains(&folder.as_str());
            let port = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            (if is_usual { "localhost".to_owned() } else { folder }, port)
        }
    }
}

fn among(text: &str, (host, port): &(String, String), database: &str, user: &str) -> Option<String> {
    let wanted = [host, port, database, user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let parts = parts(line);
        let (password, names) = parts.split_last()?;
        let fits = |(part, wanted): (&&str, &str)| *part == ANY || plain(part) == wanted;
        (names.len() == wanted.len() && names.iter().zip(wanted).all(fits)).then(|| plain(password))
    })
}

/// Cuts a line at its first four colons that have no backslash before them.
fn parts(line: &str) -> Vec<&str> {
    let (mut parts, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (place, one) in line.char_indices() {
        if one == ':' && !is_escaped && parts.len() < 4 {
            parts.push(&line[start..place]);
            start = place + 1;
        }
        is_escaped = one == '\\' && !is_escaped;
    }
    parts.push(&line[start..]);
    parts
}

/// Returns a part without its backslashes.
fn plain(part: &str) -> String {
    let mut characters = part.chars();
    std::iter::from_fn(|| match characters.next()? {
        '\\' => characters.next(),
        other => Some(other),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        among(text, &("db.example".to_owned(), "5432".to_owned()), "app", "me")
    }

    #[test]
    fn the_first_line_that_fits_counts() {
        let text = "# db.example:5432:app:me:no\n\nother:5432:app:me:a\ndb.example:*:app:me:b\n*:*:*:*:c";
        assert_eq!(found(text).as_deref(), Some("b"));
        assert_eq!(found("*:*:*:*:c\r\n").as_deref(), Some("c"));
        for text in ["", "db.example:5432:app:me", "*:*:*:you:a", "\\*:*:*:*:a"] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn a_backslash_takes_the_meaning_of_what_follows() {
        assert_eq!(found("*:*:*:*:a\\:b\\\\c:d").as_deref(), Some("a:b\\c:d"));
        let socket = Address::Unix("/a:b/.s.PGSQL.7".into());
        assert_eq!(among("/a\\:b:7:app:me:x", &place(&socket), "app", "me").as_deref(), Some("x"));
        assert_eq!(place(&Address::Unix("/tmp/.s.PGSQL.7".into())), ("localhost".to_owned(), "7".to_owned()));
    }
}
