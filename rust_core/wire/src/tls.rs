//! TLS: the server's certificate, and client certificates judged as upstream judges them.
//!
//! Upstream takes any client certificate in the handshake and refuses the *request* with 401 if its CA does not vouch for it. So the
//! handshake only proves that the client holds the key; `Tls::peer` then asks the strict verifier.

use std::sync::Arc;

use bytes::Bytes;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
};

use crate::error::WireError;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub enum Peer {
    /// No client certificate.
    None,
    /// DER of a certificate that the client CA vouches for.
    Verified(Bytes),
    /// A certificate of some other origin: its requests are refused unless a token speaks for them.
    Unverified,
    /// A bench on loopback, or a part of this process.
    Named(Bytes),
}

#[derive(Clone)]
pub struct Tls {
    pub config: Arc<ServerConfig>,
    strict: Option<Arc<dyn ClientCertVerifier>>,
}

impl Tls {
    pub fn new(
        certificate_pem: &[u8],
        key_pem: &[u8],
        client_ca_pem: &[u8],
    ) -> Result<Tls, WireError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = certificates(certificate_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|error| WireError::Pem(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(client_ca_pem)? {
            roots.add(certificate)?;
        }
        let strict = if roots.is_empty() {
            None
        } else {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                    .build();
            Some(verifier.map_err(|error| WireError::Pem(error.to_string()))?)
        };
        let builder =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = match strict.clone() {
            Some(strict) => builder.with_client_cert_verifier(Arc::new(AnyHolder { strict })),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls {
            config: Arc::new(config),
            strict,
        })
    }

    /// Judges the certificates that a client sent.
    pub fn peer(&self, certificates: Option<&[CertificateDer<'_>]>) -> Peer {
        let Some((leaf, intermediates)) = certificates.and_then(<[_]>::split_first) else {
            return Peer::None;
        };
        let verified = self.strict.as_ref().is_some_and(|strict| {
            strict
                .verify_client_cert(leaf, intermediates, UnixTime::now())
                .is_ok()
        });
        if verified {
            Peer::Verified(Bytes::copy_from_slice(leaf))
        } else {
            Peer::Unverified
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, WireError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.map_err(|error| WireError::Pem(error.to_string()))
}

/// Accepts whoever holds the key of the certificate they show.
#[derive(Debug)]
struct AnyHolder {
    strict: Arc<dyn ClientCertVerifier>,
}

impl ClientCertVerifier for AnyHolder {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.strict.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.strict
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}
