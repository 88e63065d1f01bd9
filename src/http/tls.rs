//! The server's certificates: read from files, read again upon reload, never half replaced.

use crate::http::reloadable::Reloadable;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::WebPkiClientVerifier,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio_rustls::TlsAcceptor;

/// Whether clients show a certificate of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Not asked for.
    None,
    /// Asked for; a client without one is let in (and may show a token), one with a bad one is not.
    Optional { ca_file: PathBuf },
    /// A client without a certificate of this CA gets no further than the handshake.
    Required { ca_file: PathBuf },
}

/// Where the certificates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the server's certificate first, then the intermediate ones.
    pub cert_file: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key_file: PathBuf,
    pub clients: ClientCertificates,
}

/// Why the certificates can't be used. Names the file; never shows what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds no {what} in PEM", path.display())]
    Missing { path: PathBuf, what: &'static str },
    #[error("{} is not valid PEM: {source}", path.display())]
    Pem { path: PathBuf, source: pem::Error },
    #[error("the certificate authority in {} cannot be used: {reason}", path.display())]
    Authority { path: PathBuf, reason: String },
    #[error("the certificate {} and the key {} do not serve: {source}", cert.display(), key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

/// TLS whose certificates can be replaced while it serves. Connections that are open keep the old ones until they close.
#[derive(Debug)]
pub struct ReloadableTls {
    files: TlsFiles,
    config: Reloadable<ServerConfig>,
}

impl ReloadableTls {
    /// Reads the files for the first time. Blocking: call it at start or from a blocking task.
    pub fn load(files: TlsFiles) -> Result<ReloadableTls, TlsError> {
        let config = Reloadable::new(server_config(&files)?);
        Ok(ReloadableTls { files, config })
    }

    /// Reads them again. Upon an error the old certificates stay. Sessions of before can't be resumed afterwards, so
    /// a client of a CA that was removed must show a certificate anew.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.replace(server_config(&self.files)?);
        Ok(())
    }

    /// The acceptor for one new connection.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.current())
    }
}

fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(&files.cert_file)?;
    let key = private_key(&files.key_file)?;
    let pair = |source| TlsError::Pair { cert: files.cert_file.clone(), key: files.key_file.clone(), source };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.clients {
        ClientCertificates::None => builder.with_no_client_auth(),
        ClientCertificates::Optional { ca_file } => {
            builder.with_client_cert_verifier(client_verifier(ca_file, provider, true)?)
        }
        ClientCertificates::Required { ca_file } => {
            builder.with_client_cert_verifier(client_verifier(ca_file, provider, false)?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn client_verifier(
    ca_file: &Path,
    provider: Arc<CryptoProvider>,
    optional: bool,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let unusable = |reason: String| TlsError::Authority { path: ca_file.to_path_buf(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_file)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = if optional { builder.allow_unauthenticated() } else { builder };
    builder.build().map_err(|error| unusable(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.to_path_buf(), source })?;
    if found.is_empty() {
        return Err(TlsError::Missing { path: path.to_path_buf(), what: "certificate" });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|source| match source {
        pem::Error::NoItemsFound => TlsError::Missing { path: path.to_path_buf(), what: "private key" },
        source => TlsError::Pem { path: path.to_path_buf(), source },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::generate_simple_self_signed;

    fn files(folder: &Path) -> TlsFiles {
        let own = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), own.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), own.signing_key.serialize_pem()).unwrap();
        TlsFiles {
            cert_file: folder.join("cert.pem"),
            key_file: folder.join("key.pem"),
            clients: ClientCertificates::None,
        }
    }

    #[test]
    fn a_bad_file_is_named_and_the_old_certificates_stay() {
        let folder = tempfile::tempdir().unwrap();
        let tls = ReloadableTls::load(files(folder.path())).unwrap();
        let before = tls.config.current();
        fs::write(folder.path().join("cert.pem"), "").unwrap();
        let refused = tls.reload().unwrap_err().to_string();
        assert!(refused.contains("cert.pem holds no certificate"), "{refused}");
        assert!(Arc::ptr_eq(&before, &tls.config.current()));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let other = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(&files.key_file, other.signing_key.serialize_pem()).unwrap();
        assert!(matches!(ReloadableTls::load(files), Err(TlsError::Pair { .. })));
    }

    #[test]
    fn missing_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = files(folder.path());
        fs::write(folder.path().join("empty.pem"), "").unwrap();
        let no_key = TlsFiles { key_file: folder.path().join("empty.pem"), ..good.clone() };
        let text = ReloadableTls::load(no_key).unwrap_err().to_string();
        assert!(text.contains("empty.pem holds no private key"), "{text}");
        let no_ca = ClientCertificates::Required { ca_file: folder.path().join("ca.pem") };
        let text = ReloadableTls::load(TlsFiles { clients: no_ca, ..good }).unwrap_err().to_string();
        assert!(text.starts_with("cannot read") && text.contains("ca.pem"), "{text}");
    }
}
