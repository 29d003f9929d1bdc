//! TLS by rustls, from redis-rb's `ssl_params`.

use crate::redis_options::{Pem, TlsOptions};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use std::sync::Arc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A client that has not spoken yet, for a server called `host`.
pub fn client(options: &TlsOptions, host: &str) -> Result<ClientConnection, Failure> {
    // Named here, since rustls panics where no process-wide provider is installed.
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

fn roots(options: &TlsOptions) -> Result<RootCertStore, Failure> {
    let mut store = RootCertStore::empty();
    match &options.ca_file {
        Some(path) => {
            for certificate in CertificateDer::pem_file_iter(path)? {
                store.add(certificate?)?;
            }
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(store)
}

/// rustls's own verifier, with the two checks that OpenSSL lets a user turn off.
#[derive(Debug)]
struct Verifier {
    /// `None` where nothing is to be checked (`verify_mode: OpenSSL::SSL::VERIFY_NONE`).
    checked: Option<Arc<WebPkiServerVerifier>>,
    verify_hostname: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(options: &TlsOptions, provider: Arc<CryptoProvider>) -> Result<Self, Failure> {
        let checked = if options.verify {
            let roots = Arc::new(roots(options)?);
            Some(WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?)
        } else {
            None
        };
        Ok(Self { checked, verify_hostname: options.verify_hostname, provider })
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
            // The name is checked last, so everything else is in order.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.verify_hostname => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
