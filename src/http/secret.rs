//! Secrets: read only from files, kept as digests where they are only compared, never shown.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};
use subtle::{Choice, ConstantTimeEq};

/// No token, password or connection string is longer; a larger file is some other file, named by mistake.
pub const SECRET_MAX_BYTES: usize = 64 * 1024;

/// Why a secret's file is of no use. The text names the file and the remedy, never what the file holds.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read the secret file {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the secret file {} is empty: write the secret into it, or remove the setting", path.display())]
    Empty { path: PathBuf },
    #[error("the secret file {} is larger than {SECRET_MAX_BYTES} bytes: is it the right file?", path.display())]
    TooLarge { path: PathBuf },
    #[error("the secret file {} is not UTF-8 text: is it the right file?", path.display())]
    NotText { path: PathBuf },
}

/// Reads a `*_file` setting: one newline at the end is not part of the secret, everything else is.
///
/// Call it again upon reload: that is how a secret is rotated.
pub fn read_secret(path: &Path) -> Result<SecretString, SecretError> {
    let path_buf = || path.to_path_buf();
    let file = File::open(path).map_err(|source| SecretError::Read { path: path_buf(), source })?;
    let mut bytes = Vec::new();
    file.take(SECRET_MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| SecretError::Read { path: path_buf(), source })?;
    if bytes.len() > SECRET_MAX_BYTES {
        return Err(SecretError::TooLarge { path: path_buf() });
    }
    let text = String::from_utf8(bytes).map_err(|_| SecretError::NotText { path: path_buf() })?;
    let text = text.strip_suffix('\n').map_or(text.as_str(), |cut| cut.strip_suffix('\r').unwrap_or(cut));
    if text.trim().is_empty() {
        return Err(SecretError::Empty { path: path_buf() });
    }
    Ok(SecretString::from(text.to_owned()))
}

/// A secret kept only to be compared: its SHA-256, so that lengths are equal and memory holds nothing to steal.
#[derive(Clone, Copy)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    #[must_use]
    pub fn of(bytes: &[u8]) -> SecretDigest {
        SecretDigest(Sha256::digest(bytes).into())
    }

    #[must_use]
    pub fn of_secret(secret: &SecretString) -> SecretDigest {
        SecretDigest::of(secret.expose_secret().as_bytes())
    }

    /// Equal or not, in a time that does not tell where they differ.
    #[must_use]
    pub fn matches(&self, other: &SecretDigest) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &[u8]) -> Result<String, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, content).unwrap();
        read_secret(&path).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn one_newline_at_the_end_is_not_part_of_the_secret() {
        assert_eq!(read(b"s3cret\n").unwrap(), "s3cret");
        assert_eq!(read(b"s3cret\r\n").unwrap(), "s3cret");
        assert_eq!(read(b"s3cret\n\n").unwrap(), "s3cret\n");
        assert_eq!(read(b" s3 cret ").unwrap(), " s3 cret ");
    }

    #[test]
    fn an_empty_secret_is_refused() {
        for content in [&b""[..], b"\n", b"\r\n", b"  \n"] {
            assert!(matches!(read(content), Err(SecretError::Empty { .. })), "{content:?}");
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_without_being_shown() {
        assert!(matches!(read(&vec![b'x'; SECRET_MAX_BYTES + 1]), Err(SecretError::TooLarge { .. })));
        assert_eq!(read(&vec![b'x'; SECRET_MAX_BYTES]).unwrap().len(), SECRET_MAX_BYTES);
        assert!(matches!(read(b"\xff\xfe"), Err(SecretError::NotText { .. })));
        let missing = read_secret(Path::new("/nonexistent/token")).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/token"), "{missing}");
    }

    #[test]
    fn digests_compare_secrets_of_any_length() {
        let secret = SecretDigest::of(b"right");
        assert!(bool::from(secret.matches(&SecretDigest::of(b"right"))));
        for wrong in [&b"righ"[..], b"right ", b"", b"Right"] {
            assert!(!bool::from(secret.matches(&SecretDigest::of(wrong))));
        }
        assert_eq!(format!("{secret:?}"), "SecretDigest");
    }
}
