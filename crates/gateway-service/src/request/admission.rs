//! Asks the legacy system whether it would answer a caller, before the canary does.

use super::{GatewayRequest, legacy_origin};
use crate::host::{HttpRequest, HttpResponse, Target};
use crate::request_host::RequestHost;
use jeffrey_edge::gateway::config::CanaryAuth;
use jeffrey_edge::gateway::request::auth_check::{caller_bytes, check_headers};
use jeffrey_edge::gateway::request::subject;
use jeffrey_edge::gateway::upstream::auth_verdict::AuthVerdict;

/// Largest body of the check's response that is read, in bytes. Only its head counts.
const CHECK_BODY_BYTES_MAX: usize = 16 * 1024;

/// Decision on a caller, before the canary answers.
pub(super) enum Admission {
    /// The canary may answer, and the legacy system was not asked.
    NotAsked,
    /// The legacy system was asked, now or before.
    Asked {
        /// Its verdict on the caller.
        verdict: AuthVerdict,
        /// `set-cookie` values of its response, such as of a session that slides; empty if it was asked
        /// before.
        cookies: Vec<String>,
    },
    /// The canary answers no caller.
    Undeclared,
}

impl<H: RequestHost> GatewayRequest<H> {
    /// Returns whether the canary may answer the caller. Asks the legacy system if that is configured,
    /// unless it gave a verdict on the same caller shortly before.
    pub(super) async fn ask_admission(&self) -> Admission {
        match (self.settings.canary_auth, &self.settings.auth_check) {
            (Some(CanaryAuth::NoneRequired | CanaryAuth::CredentialsStayStable), _) => {
                Admission::NotAsked
            }
            (Some(CanaryAuth::Check), Some((method, path))) => {
                self.find_verdict(method, path).await
            }
            (Some(CanaryAuth::Check), None) | (None, _) => Admission::Undeclared,
        }
    }

    async fn find_verdict(&self, method: &str, path: &str) -> Admission {
        let (host, settings) = (&self.host, &*self.settings);
        let cache_ms = settings.auth_cache_ms;
        let caller = caller_bytes(&self.head, &settings.auth_headers, self.client_address());
        let now = host.now();
        let cached = host.isolate().with_auth_verdicts(|verdicts| {
            let paused = verdicts.is_paused(now).then_some(AuthVerdict::Unavailable);
            verdicts.find(&caller, cache_ms, now).or(paused)
        });
        if let Some(verdict) = cached {
            return Admission::Asked { verdict, cookies: Vec::new() };
        }
        let response = self.send_check(method, path).await;
        let (random, now) = (host.random_bytes(), host.now());
        let status = response.as_ref().map(|response| response.status);
        let verdict = status.map_or(AuthVerdict::Unavailable, AuthVerdict::from_status);
        host.isolate().with_auth_verdicts(|verdicts| {
            verdicts.record_response(status.is_some(), now);
            if cache_ms > 0 {
                verdicts.store(&caller, verdict, random, now);
            }
        });
        let cookies = response.iter().flat_map(HttpResponse::cookies);
        let cookies = cookies.filter(|cookie| !subject::sets_subject_cookie(cookie));
        Admission::Asked { verdict, cookies: cookies.map(str::to_owned).collect() }
    }

    /// Sends the check; `None` if no response came in time.
    async fn send_check(&self, method: &str, path: &str) -> Option<HttpResponse> {
        let url = format!("{}{path}", legacy_origin(&self.settings));
        let headers = check_headers(&self.head, &self.forward.1);
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let request = HttpRequest {
            target: Target::Legacy(&url),
            method,
            headers: &headers,
            body: &[],
            timeout_ms: self.settings.auth_timeout_ms,
            response_bytes_max: CHECK_BODY_BYTES_MAX,
        };
        self.host.send(request).await.ok()
    }
}
