//! TLS and login.

use crate::foundation::net::socket::Socket;
use crate::foundation::net::tls;
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::frames::{message, read_byte};
use crate::foundation::postgres::settings::{Settings, SslMode};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use std::io::Write;

/// The request for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const PROTOCOL: [u8; 4] = [0, 3, 0, 0];
/// The session's settings, so that values have the forms that are read here.
const SESSION: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
];

/// Starts TLS, if the settings want it and the server has it.
pub fn secure(socket: &mut Socket, settings: &Settings, host: &str) -> Result<(), Failure> {
    if settings.ssl_mode == SslMode::Disable {
        return Ok(());
    }
    socket.write_all(&SSL_REQUEST)?;
    match read_byte(socket)? {
        b'S' => {
            let client = tls::client(&settings.tls, host).map_err(|error| Failure::Tls(error.to_string()))?;
            socket.speak_tls(client);
            // The handshake is done here, so that a refused certificate is told as such.
            socket.flush()?;
            Ok(())
        }
        b'N' if settings.ssl_mode == SslMode::Prefer => Ok(()),
        b'N' => Err(Failure::Tls("the server has no TLS, which sslmode requires".to_owned())),
        _ => Err(Failure::Protocol("an answer to the request for TLS that is none")),
    }
}

/// Returns the first message of a session.
pub fn startup(settings: &Settings) -> Vec<u8> {
    let mut body = PROTOCOL.to_vec();
    let own = [
        ("user", settings.user.as_str()),
        ("database", &settings.database),
        ("application_name", &settings.application_name),
        ("replication", if settings.replicates { "database" } else { "false" }),
    ];
    for text in own.into_iter().chain(SESSION).flat_map(|(name, value)| [name, value]) {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let mut bytes = u32::try_from(body.len() + 4).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.append(&mut body);
    bytes
}

/// One login.
pub struct Login<'a> {
    settings: &'a Settings,
    scram: Option<ScramSha256>,
}

impl<'a> Login<'a> {
    /// Begins a login.
    pub fn new(settings: &'a Settings) -> Self {
        Self { settings, scram: None }
    }

    /// Returns what answers the authentication message `body`. `None` means that the server accepts the login.
    pub fn answer(&mut self, body: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let (kind, rest) =
            body.split_first_chunk::<4>().ok_or(Failure::Protocol("a short authentication message"))?;
        match u32::from_be_bytes(*kind) {
            0 => return Ok(None),
            3 => {
                // Whoever could read it would have the password.
                if self.settings.ssl_mode < SslMode::Require {
                    return Err(Failure::Login(
                        "the server asks for the password in clear text: set sslmode=verify-full, or scram-sha-256 in \
                         pg_hba.conf",
                    ));
                }
                let password = [self.password()?, b"\0"].concat();
                return Ok(Some(message(b'p', &password)));
            }
            5 => {
                let salt = rest.first_chunk::<4>().ok_or(Failure::Protocol("a short salt"))?;
                let hash = md5_hash(self.settings.user.as_bytes(), self.password()?, *salt);
                return Ok(Some(message(b'p', &[hash.as_bytes(), b"\0"].concat())));
            }
            10 => {
                if !rest.split(|byte| *byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
                    return Err(Failure::Login("the server offers no SCRAM-SHA-256"));
                }
                let scram = ScramSha256::new(self.password()?, ChannelBinding::unsupported());
                let first = scram.message();
                let mut body = SCRAM_SHA_256.as_bytes().to_vec();
                body.push(0);
                body.extend_from_slice(&u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes());
                body.extend_from_slice(first);
                self.scram = Some(scram);
                return Ok(Some(message(b'p', &body)));
            }
            11 => {
                let scram = self.scram.as_mut().ok_or(Failure::Protocol("SASL out of turn"))?;
                scram.update(rest)?;
                return Ok(Some(message(b'p', scram.message())));
            }
            12 => {
                let mut scram = self.scram.take().ok_or(Failure::Protocol("SASL out of turn"))?;
                scram.finish(rest)?;
                return Ok(Some(Vec::new()));
            }
            _ => {}
        }
        Err(Failure::Login(
            "the server asks for a login that is not supported: scram-sha-256, md5, cert and trust of pg_hba.conf are",
        ))
    }

    fn password(&self) -> Result<&[u8], Failure> {
        let password = self.settings.password.as_ref();
        password.map(|password| password.as_bytes()).ok_or(Failure::Login(
            "the server asks for a password, and none is given: put it into the URL, or set PGPASSWORD",
        ))
    }
}
