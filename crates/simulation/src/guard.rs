//! Model of the gateway Worker's `guard.js`: if an instance dies while it answers a call, the exchange
//! with the legacy system goes on, or begins, without the instance.

use std::rc::Rc;

use futures_channel::oneshot;

use crate::clients::Outcome;
use crate::executor::Owner;
use crate::fault::{Disturbance, Hop};
use crate::host::{SimulatedHost, SimulatedRequest};
use crate::record::{CallWatch, ClientResponse, LegacyReply};
use crate::simulation::Simulation;
use jeffrey_gateway_service::host::FetchError;
use jeffrey_gateway_service::request::record_gateway_fault;
use jeffrey_gateway_service::request_host::StreamedResponse;
use jeffrey_http_core::head::RequestHead;
use jeffrey_native_host::StoredResponse;

impl Simulation {
    /// Sends a call to the legacy system. The receiver gets a message when the result is in `watch`.
    pub(crate) fn send_to_legacy(
        self: &Rc<Self>,
        head: &RequestHead,
        body: Vec<u8>,
        timeout_ms: Option<u64>,
        watch: &Rc<CallWatch>,
    ) -> oneshot::Receiver<()> {
        watch.is_sent.set(true);
        let (sender, receiver) = oneshot::channel();
        let (simulation, watch, head) = (Rc::clone(self), Rc::clone(watch), head.clone());
        self.executor.spawn(Owner::Surroundings, async move {
            let result = simulation.exchange_with_legacy(&head, &body, timeout_ms, &watch).await;
            watch.put_upstream(result);
            let _ = sender.send(());
        });
        receiver
    }

    async fn exchange_with_legacy(
        &self,
        head: &RequestHead,
        body: &[u8],
        timeout_ms: Option<u64>,
        watch: &CallWatch,
    ) -> Result<StoredResponse, FetchError> {
        let began_ms = self.now_ms();
        let passage = self.conditions.draw_passage(Hop::Legacy, began_ms);
        let result = match passage.disturbance {
            Some(Disturbance::Failed) => {
                self.executor.sleep(passage.request_ms).await;
                Err(FetchError::Failed)
            }
            disturbance => {
                let is_silent = disturbance == Some(Disturbance::Silent);
                let LegacyReply { service_ms, response } = self.answer_legacy(head, body);
                if !is_silent {
                    watch.legacy_requests.set(watch.legacy_requests.get() + 1);
                }
                let total_ms = passage.request_ms + service_ms + passage.response_ms;
                let is_lost = is_silent || disturbance == Some(Disturbance::ResponseLost);
                match timeout_ms {
                    Some(timeout_ms) if is_lost || total_ms > timeout_ms => {
                        watch.would_answer.set(!is_lost);
                        self.executor.sleep(timeout_ms).await;
                        Err(FetchError::TimedOut)
                    }
                    // Without a time limit, the connection breaks at last.
                    None if is_lost => {
                        self.executor.sleep(60_000).await;
                        Err(FetchError::Failed)
                    }
                    _ if disturbance == Some(Disturbance::Closed) => {
                        self.executor.sleep(total_ms).await;
                        Err(FetchError::Failed)
                    }
                    _ => {
                        self.executor.sleep(total_ms).await;
                        let is_cut = disturbance == Some(Disturbance::CutBody);
                        Ok(if is_cut { response.with_broken_body() } else { response })
                    }
                }
            }
        };
        watch.legacy_ms.set(watch.legacy_ms.get() + self.now_ms() - began_ms);
        let failed = match &result {
            Ok(response) => response.status() >= 500,
            Err(_) => true,
        };
        watch.legacy_failed.set(watch.legacy_failed.get() | failed);
        result
    }

    /// Answers a call whose isolate died, and lets another isolate record it.
    pub(crate) async fn answer_without_isolate(
        self: &Rc<Self>,
        head: RequestHead,
        body: Option<Rc<Vec<u8>>>,
        watch: &Rc<CallWatch>,
    ) -> Outcome {
        let is_for_gateway = head.path().starts_with("/_jeffrey");
        let Some(body) = body.filter(|_| !is_for_gateway) else { return Outcome::Interrupted };
        let began_ms = self.now_ms();
        if !watch.is_sent.get() {
            let _ = self.send_to_legacy(&head, body.to_vec(), None, watch).await;
        }
        let result = loop {
            match watch.take_upstream() {
                Some(result) => break result,
                None => self.executor.sleep(1).await,
            }
        };
        let response = result.unwrap_or_else(|_| StoredResponse::new(502, &[], b"unreachable"));
        let status = response.status();
        let isolate = self.isolates.borrow().first().cloned();
        if let Some(isolate) = isolate {
            let host = SimulatedHost::new(self, &isolate);
            let latency_ms = self.now_ms() - began_ms;
            if head.path() == "/predict" {
                self.record.expect_event(isolate.number);
            }
            let request = SimulatedRequest::new(host, head.clone(), None, Rc::clone(watch));
            self.executor.spawn(isolate.owner, async move {
                record_gateway_fault(&request, &head, status, latency_ms).await;
            });
        }
        Outcome::Answered(ClientResponse::read(response).await)
    }
}
