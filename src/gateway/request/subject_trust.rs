//! Trust in the subject that a call names.
//!
//! By default a caller names itself. `SUBJECT_TRUST` can demand that the call comes from a server that
//! knows a secret, or that has a client certificate which the platform verified. A subject that is not
//! trusted then does not count, so that a caller cannot look for a subject whose bucket is canary.

use crate::gateway::config::{GatewaySettings, SubjectTrust};
use jeffrey_http_core::head::RequestHead;

/// Request header with the secret of a server that names subjects.
pub const SECRET_HEADER: &str = "x-jeffrey-subject-secret";

/// Client certificate of a connection, by the fields of Cloudflare's `request.cf.tlsClientAuth`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// `certPresented`: `1` if the client sent a certificate.
    pub presented: String,
    /// `certVerified`: `SUCCESS` if the certificate is valid.
    pub verified: String,
    /// `certRevoked`: `1` if the certificate was revoked.
    pub revoked: String,
}

impl ClientCertificate {
    /// Returns whether the client has a valid certificate that was not revoked.
    pub fn is_valid(&self) -> bool {
        self.presented == "1" && self.verified == "SUCCESS" && self.revoked != "1"
    }
}

/// Returns whether the subject that a call names is trusted. `certificate` is `None` if the platform
/// says nothing about one.
pub fn is_subject_trusted(
    head: &RequestHead,
    certificate: Option<&ClientCertificate>,
    settings: &GatewaySettings,
) -> bool {
    match settings.subject_trust {
        SubjectTrust::Anyone => false,
        SubjectTrust::ClientCertificate => certificate.is_some_and(ClientCertificate::is_valid),
        SubjectTrust::Secret => {
            let presented = head.header(SECRET_HEADER).unwrap_or_default().as_bytes();
            // Compares with every key, so that the time does not tell which one it is.
            let keys = settings.subject_secrets.iter();
            keys.fold(false, |is_same, key| key.is_same_secret(presented) | is_same)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::config::WorkerVariables;

    fn is_trusted(
        trust: &str,
        header: Option<&str>,
        certificate: Option<&ClientCertificate>,
    ) -> bool {
        let secrets = "0123456789abcdef, fedcba9876543210";
        let variables = [("SUBJECT_TRUST", trust), ("JEFFREY_SUBJECT_SECRET", secrets)];
        let variables = variables.map(|(name, value)| (name, value.to_owned()));
        let settings = GatewaySettings::parse(&WorkerVariables(variables.into()));
        let headers = header.map(|value| (SECRET_HEADER.to_owned(), value.to_owned()));
        let headers = headers.into_iter().collect();
        let head = RequestHead::new("POST".to_owned(), "https://gateway/", headers).unwrap();
        is_subject_trusted(&head, certificate, &settings)
    }

    #[test]
    fn a_subject_is_trusted_by_the_secret_and_by_nothing_like_it() {
        let rows = [
            (Some("0123456789abcdef"), true),
            (Some("fedcba9876543210"), true),
            (Some("0123456789abcde"), false),
            (Some("0123456789abcdef, fedcba9876543210"), false),
            (Some(""), false),
            (None, false),
        ];
        for (header, expected) in rows {
            assert_eq!(is_trusted("secret", header, None), expected, "{header:?}");
            assert!(!is_trusted("anyone", header, None), "{header:?}");
            assert!(!is_trusted("client_certificate", header, None), "{header:?}");
        }
    }

    #[test]
    fn a_subject_is_trusted_by_a_certificate_that_the_platform_verified() {
        let rows = [
            ("1", "SUCCESS", "0", true),
            ("1", "SUCCESS", "1", false),
            ("1", "FAILED:self signed certificate", "0", false),
            ("0", "NONE", "0", false),
            ("0", "SUCCESS", "0", false),
            ("", "", "", false),
        ];
        for (presented, verified, revoked, expected) in rows {
            let certificate = ClientCertificate {
                presented: presented.to_owned(),
                verified: verified.to_owned(),
                revoked: revoked.to_owned(),
            };
            let certificate = Some(&certificate);
            let found = is_trusted("client_certificate", None, certificate);
            assert_eq!(found, expected, "{presented} {verified} {revoked}");
            assert!(!is_trusted("secret", None, certificate));
        }
    }
}
