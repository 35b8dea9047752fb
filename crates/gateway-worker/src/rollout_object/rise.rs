//! What is asked before a share rises.

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::json;
use worker::worker_sys::web_sys;

use super::{Planned, RolloutObject};
use crate::http::{self, Outgoing, Parts, Read, Said, Target};
use crate::{ledger, now};
use jeffrey_edge::gate::own::LAST;
use jeffrey_edge::gate::webhook::{self, Receiver};
use jeffrey_edge::rollout::permit::{Answer, Known, Withheld, Word, withheld};

/// How long the model worker or somebody who is asked may take.
const ASKED_MS: u64 = 5_000;

/// How far their answers are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

impl RolloutObject {
    /// Why no share may rise now, beside what the gates say.
    pub(super) async fn withheld(&self) -> Option<Withheld> {
        let planned = self.planned().ok().flatten();
        let planned = planned.as_deref();
        let validation = self.validation().ok().flatten();
        let deployed = self.deployed().await;
        let live = planned.filter(|of| of.is_live());
        let analysis = match live {
            Some(Planned { control, .. }) => {
                let minutes = (control.entered_after, LAST);
                let found = ledger::between(&self.env, &self.settings.release, minutes).await;
                // What cannot be read is not ready.
                Some(found.map(|[canary, _]| canary.sums()).unwrap_or_default().verdict())
            }
            None => None,
        };
        let (validation, deployed) = (validation.as_ref(), deployed.as_deref());
        let known = Known { validation, deployed, analysis, words: &[] };
        if let Some(withheld) = withheld(&known, now()) {
            return Some(withheld);
        }
        let about = planned.map(|of| {
            let Planned { plan, control } = of;
            let next = if of.is_live() { control.state.stage + 1 } else { 0 };
            json!({
                "release": self.settings.release.as_str(),
                "from_basis_points": control.state.share(plan).basis_points(),
                "to_basis_points": plan.stage(next).map(|stage| stage.share.basis_points()),
                "stage": next,
            })
        });
        let body = about.unwrap_or_default().to_string();
        let words = self.settings.asked.iter().map(|receiver| word(receiver, &body));
        let words: Vec<Word> = join_all(words).await;
        withheld(&Known { words: &words, ..known }, now())
    }

    /// Sha256 of the deployed model, as its worker says.
    async fn deployed(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Health {
            model: Model,
        }
        #[derive(Deserialize)]
        struct Model {
            sha256: String,
        }
        let target = Target::Bound(http::binding(&self.env, "MODEL")?);
        let headers = web_sys::Headers::new().ok()?;
        let (method, url, body) = ("GET", "http://model/health", Outgoing::None);
        let parts = Parts { method, url, headers: &headers, body };
        let response = parts.send(&target, Some(ASKED_MS)).await.ok()?;
        let body = http::before(ASKED_MS, http::read(response.body(), ANSWER_BYTES_MAX)).await?;
        let Read::Whole(body) = body else { return None };
        serde_json::from_slice::<Health>(&body).ok().map(|health| health.model.sha256)
    }
}

async fn word(receiver: &Receiver, body: &str) -> Word {
    let answer = match post(receiver, body.as_bytes()).await {
        Some(Said { status, body, .. }) => webhook::answer(status, &body),
        None => Answer::Wait,
    };
    Word { name: receiver.name.clone(), answer }
}

/// What a receiver said, if it did in time.
pub(super) async fn post(receiver: &Receiver, body: &[u8]) -> Option<Said> {
    let to = (receiver.url.as_str(), receiver.authorization.as_deref());
    http::post(to, ("application/json", body), ASKED_MS, ANSWER_BYTES_MAX).await.ok()
}
