//! Certificate files: authorities of the servers, and the certificate and key of this client.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use deadpool_redis::redis::{ClientTlsConfig, TlsCertificates};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::store::redis::endpoint::address::Address;

/// What connections with TLS need.
pub(super) struct Tls {
    /// The authorities that sign the certificates of servers; if empty, those of the system.
    authorities: RootCertStore,
    /// The certificate and key of this client.
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Tls {
    /// The TLS configuration. Fails if certificate and key do not fit together.
    pub(super) fn config(mut self, address: &Address) -> Result<ClientConfig, String> {
        if self.authorities.is_empty() {
            let found = rustls_native_certs::load_native_certs();
            self.authorities.add_parsable_certificates(found.certs);
        }
        let config = ClientConfig::builder().with_root_certificates(self.authorities);
        let (Some((chain, secret)), Some((certificate, key))) = (self.identity, &address.identity) else {
            return Ok(config.with_no_client_auth());
        };
        config.with_client_auth_cert(chain, secret).map_err(|error| {
            let (certificate, key) = (certificate.display(), key.display());
            match error {
                rustls::Error::InconsistentKeys(_) => unusable(format_args!("{key} is not the key of {certificate}")),
                error => unusable(format_args!("{certificate} with {key}: {error}")),
            }
        })
    }
}

/// Reads the certificate files: for the client library, if the operator names any, and for the pipelined connections.
pub(super) fn certificates(address: &Address) -> Result<(Option<TlsCertificates>, Tls), String> {
    let read = |path: &PathBuf| {
        let bytes = fs::read(path).and_then(crate::text::file::decoded);
        bytes.map_err(|cause| format!("cannot read {}: {cause}", path.display()))
    };
    let mut authorities = RootCertStore::empty();
    let root_cert = address.ca.as_ref().map(read).transpose()?;
    if let (Some(path), Some(pem)) = (&address.ca, &root_cert) {
        for authority in chain(path, pem)? {
            authorities
                .add(authority)
                .map_err(|error| unusable(format_args!("{}: {error}", path.display())))?;
        }
    }
    let (mut client_tls, mut identity) = (None, None);
    if let Some((certificate, key)) = &address.identity {
        let (client_cert, client_key) = (read(certificate)?, read(key)?);
        let chain = chain(certificate, &client_cert)?;
        let secret = PrivateKeyDer::from_pem_slice(&client_key);
        let secret = secret.map_err(|_| unusable(format_args!("{} holds no plain private key", key.display())))?;
        identity = Some((chain, secret));
        client_tls = Some(ClientTlsConfig {
            client_cert,
            client_key,
        });
    }
    let any = root_cert.is_some() || client_tls.is_some();
    let library = any.then_some(TlsCertificates { client_tls, root_cert });
    Ok((library, Tls { authorities, identity }))
}

/// The certificates in a file, at least one.
fn chain(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(unusable(format_args!("{} holds no certificate in PEM", path.display()))),
    }
}

/// The error about certificate files that cannot be used.
pub(super) fn unusable(why: impl fmt::Display) -> String {
    format!("the certificates or the key for Redis cannot be used: {why}")
}
