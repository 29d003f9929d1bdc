//! TLS and login.

use crate::foundation::net::address::Address;
use crate::foundation::net::socket::Socket;
use crate::foundation::net::{end_point, tls};
use crate::foundation::postgres::failure::Failure;
use crate::foundation::postgres::frames::{message, read_byte};
use crate::foundation::postgres::password_file;
use crate::foundation::postgres::settings::{ChannelBinding, Password, Settings, SslMode};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use std::io::Write;

/// The request for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const PROTOCOL: [u8; 4] = [0, 3, 0, 0];
/// Why a login does not count.
const UNBOUND: &str = "channel_binding=require needs TLS and a login by scram-sha-256 that is bound to the server's \
                       certificate, and the server asks for another one";
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
    address: &'a Address,
    /// The hash of the server's certificate.
    end_point: Option<Vec<u8>>,
    scram: Option<ScramSha256>,
    /// Whether SCRAM is bound to the certificate.
    binds: bool,
    /// Whether the server has proved, by such a SCRAM, that nobody is in between.
    is_bound: bool,
}

impl<'a> Login<'a> {
    /// Begins a login at the server of `address`.
    pub fn new(settings: &'a Settings, address: &'a Address, socket: &Socket) -> Self {
        let end_point = socket.certificate().and_then(end_point::of_certificate);
        Self { settings, address, end_point, scram: None, binds: false, is_bound: false }
    }

    /// Returns what answers the authentication message `body`. `None` means that the server accepts the login.
    pub fn answer(&mut self, body: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let (kind, rest) =
            body.split_first_chunk::<4>().ok_or(Failure::Protocol("a short authentication message"))?;
        let kind = u32::from_be_bytes(*kind);
        let needs_binding = self.settings.channel_binding == ChannelBinding::Require;
        // The kinds from 10 to 12 are of SCRAM, which has its own check.
        if needs_binding && !self.is_bound && !(10..=12).contains(&kind) {
            return Err(Failure::Login(UNBOUND));
        }
        match kind {
            0 if self.scram.is_some() => return Err(Failure::Protocol("a login that ends before SCRAM has")),
            0 => return Ok(None),
            3 => {
                // Whoever could read it would have the password.
                if self.settings.ssl_mode < SslMode::Require {
                    return Err(Failure::Login(
                        "the server asks for the password in clear text: set sslmode=verify-full, or scram-sha-256 in \
                         pg_hba.conf",
                    ));
                }
                let password = [self.password()?.as_bytes(), b"\0"].concat();
                return Ok(Some(message(b'p', &password)));
            }
            5 => {
                let salt = rest.first_chunk::<4>().ok_or(Failure::Protocol("a short salt"))?;
                let password = self.password()?;
                let hash = md5_hash(self.settings.user.as_bytes(), password.as_bytes(), *salt);
                return Ok(Some(message(b'p', &[hash.as_bytes(), b"\0"].concat())));
            }
            10 => return self.begin_scram(rest).map(Some),
            11 => {
                let scram = self.scram.as_mut().ok_or(Failure::Protocol("SASL out of turn"))?;
                scram.update(rest)?;
                return Ok(Some(message(b'p', scram.message())));
            }
            12 => {
                let mut scram = self.scram.take().ok_or(Failure::Protocol("SASL out of turn"))?;
                scram.finish(rest)?;
                self.is_bound = self.binds;
                return Ok(Some(Vec::new()));
            }
            _ => {}
        }
        Err(Failure::Login(
            "the server asks for a login that is not supported: scram-sha-256, md5, cert and trust of pg_hba.conf are",
        ))
    }

    /// Returns the first message of SCRAM, of the names that the server offers.
    fn begin_scram(&mut self, offered: &[u8]) -> Result<Vec<u8>, Failure> {
        let offers = |name: &str| offered.split(|byte| *byte == 0).any(|one| one == name.as_bytes());
        let wanted = self.settings.channel_binding;
        let end_point = self.end_point.take().filter(|_| wanted != ChannelBinding::Disable);
        let (name, binding) = match end_point {
            Some(hash) if offers(SCRAM_SHA_256_PLUS) => {
                self.binds = true;
                (SCRAM_SHA_256_PLUS, sasl::ChannelBinding::tls_server_end_point(hash))
            }
            _ if wanted == ChannelBinding::Require => return Err(Failure::Login(UNBOUND)),
            _ if !offers(SCRAM_SHA_256) => return Err(Failure::Login("the server offers no SCRAM-SHA-256")),
            // The server notices if somebody in between has taken its offer away.
            Some(_) => (SCRAM_SHA_256, sasl::ChannelBinding::unrequested()),
            _ => (SCRAM_SHA_256, sasl::ChannelBinding::unsupported()),
        };
        let scram = ScramSha256::new(self.password()?.as_bytes(), binding);
        let first = scram.message();
        let mut body = name.as_bytes().to_vec();
        body.push(0);
        body.extend_from_slice(&u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(first);
        self.scram = Some(scram);
        Ok(message(b'p', &body))
    }

    fn password(&self) -> Result<Password, Failure> {
        let Settings { password, password_file, database, user, .. } = self.settings;
        if let Some(password) = password {
            return Ok(password.clone());
        }
        let in_file = |path| password_file::find(path, self.address, database, user);
        let found = password_file.as_deref().map(in_file).transpose()?.flatten();
        found.ok_or(Failure::Login(
            "the server asks for a password, and none is given: put it into the URL, set PGPASSWORD, or add a line to the \
             file of passwords (PGPASSFILE, ~/.pgpass)",
        ))
    }
}
