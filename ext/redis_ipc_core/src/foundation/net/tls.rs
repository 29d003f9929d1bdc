//! TLS with rustls, configured by redis-rb's `ssl_params`.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// TLS settings, under the names of Ruby's `ssl_params`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// A PEM file of certificate authorities, trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The client certificate: PEM text or a file's path.
    pub cert: Option<Pem>,
    /// The client's key: PEM text or a file's path.
    pub key: Option<Pem>,
    /// Whether the certificate must name the host.
    pub verify_hostname: bool,
    /// Whether the certificate is checked at all.
    pub verify: bool,
    /// Whether the server must have the key of a certificate that is not checked: the login is bound to that.
    pub proves_key: bool,
}

/// PEM text, or the path of its file. The content is never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// The text itself.
    Text(String),
    /// A file that is read when connecting.
    File(PathBuf),
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[FILTERED]")
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Creates a TLS client that has not sent anything, for a server called `host`.
pub fn client(options: &TlsOptions, host: &str) -> Result<ClientConnection, Failure> {
    // The provider is named here because rustls panics if no process-wide provider is installed.
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier::new(options, Arc::clone(&provider))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match (&options.cert, &options.key) {
        (Some(cert), Some(key)) => builder.with_client_auth_cert(certificates(cert)?, private_key(key)?)?,
        _ => builder.with_no_client_auth(),
    };
    Ok(ClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned())?)?)
}

fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Failure> {
    Ok(match pem {
        Pem::Text(text) => CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<_, _>>()?,
        Pem::File(path) => CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?,
    })
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, Failure> {
    Ok(match pem {
        Pem::Text(text) => PrivateKeyDer::from_pem_slice(text.as_bytes())?,
        Pem::File(path) => PrivateKeyDer::from_pem_file(path)?,
    })
}

/// Signature schemes that rustls cannot check. They are offered to the server if nothing is checked.
const UNCHECKED_SCHEMES: [SignatureScheme; 2] =
    [SignatureScheme::ECDSA_NISTP521_SHA512, SignatureScheme::ED448];

/// rustls's own verifier, without the two checks that OpenSSL lets a user turn off.
#[derive(Debug)]
struct Verifier {
    /// The verifier. `None` if nothing is checked (`verify_mode: OpenSSL::SSL::VERIFY_NONE`).
    checked: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates of `ca_file`. A server may present one of them as its own.
    pinned: Vec<CertificateDer<'static>>,
    verify_hostname: bool,
    proves_key: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(options: &TlsOptions, provider: Arc<CryptoProvider>) -> Result<Self, Failure> {
        let (mut checked, mut pinned) = (None, Vec::new());
        if options.verify {
            let mut roots = RootCertStore::empty();
            if let Some(path) = &options.ca_file {
                pinned = CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?;
                pinned.iter().try_for_each(|certificate| roots.add(certificate.clone()))?;
            } else {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            checked = Some(builder.build()?);
        }
        let &TlsOptions { verify_hostname, proves_key, .. } = options;
        Ok(Self { checked, pinned, verify_hostname, proves_key, provider })
    }

    /// Checks a signature, unless nothing is to be checked.
    fn signature(
        &self,
        verify: impl FnOnce(&WebPkiSupportedAlgorithms) -> Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.checked.is_some() || self.proves_key {
            verify(&self.provider.signature_verification_algorithms)
        } else {
            Ok(HandshakeSignatureValid::assertion())
        }
    }

    /// Whether a refused certificate is one of `ca_file` itself, and its only fault is that it is an authority's.
    /// Self-signed certificates often are. Its dates have been checked by then.
    fn is_pinned(&self, certificate: &CertificateDer<'_>, refusal: &rustls::Error) -> bool {
        let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why))) = refusal else {
            return false;
        };
        let is_authority = why.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity);
        is_authority && self.pinned.iter().any(|pinned| pinned.as_ref() == certificate.as_ref())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(checked) = &self.checked else { return Ok(ServerCertVerified::assertion()) };
        let verdict = checked.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(refusal) if self.is_pinned(end_entity, &refusal) => {
                if self.verify_hostname {
                    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            // The name is checked last, so all other checks have passed.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.verify_hostname => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    /// Without a check of the certificate, its signature proves nothing: an attacker in between has a valid one of
    /// their own.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signature(|algorithms| verify_tls12_signature(message, certificate, signature, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signature(|algorithms| verify_tls13_signature(message, certificate, signature, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        if self.checked.is_none() && !self.proves_key {
            schemes.extend(UNCHECKED_SCHEMES);
        }
        schemes
    }
}
