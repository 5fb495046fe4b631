//! Certificates for one test: an authority's, a server's and a client's, made by `openssl`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Certificates for 127.0.0.1 that are valid for a day.
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes the certificates.
    #[allow(clippy::new_without_default)] // it runs programs
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory for certificates");
        let certificates = Self { directory };
        certificates.openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", "authority.key", "-out", "authority.pem", "-days", "1", "-subj", "/CN=Test authority"],
        );
        for name in ["server", "client"] {
            let (key, request, certificate) = (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
            certificates.openssl(
                &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
                &[
                    "-keyout",
                    &key,
                    "-out",
                    &request,
                    "-subj",
                    &format!("/CN={name}"),
                    "-addext",
                    "subjectAltName=IP:127.0.0.1",
                ],
            );
            certificates.openssl(
                &["x509", "-req", "-copy_extensions", "copy", "-days", "1"],
                &["-in", &request, "-CA", "authority.pem", "-CAkey", "authority.key", "-out", &certificate],
            );
        }
        certificates
    }

    /// The path of a file: `authority.pem`, or `server` or `client` with `.key` or `.pem`.
    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    /// The content of a file.
    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).expect("openssl wrote it")
    }

    fn openssl(&self, command: &[&str], files: &[&str]) {
        let run = |directory: &Path| {
            Command::new("openssl").args(command).args(files).current_dir(directory).stdin(Stdio::null()).output()
        };
        let output = run(self.directory.path())
            .unwrap_or_else(|error| panic!("cannot run openssl ({error}): install it with `apt-get install openssl`"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
