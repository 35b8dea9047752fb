//! The hosts of an isolate: of the request path and the queue consumer, and of one request.

use std::pin::pin;
use std::rc::Rc;

use futures_channel::oneshot;
use futures_util::Stream as ResponseChunks;
use futures_util::future::{Either, select};

use crate::executor::Owner;
use crate::fault::{Disturbance, Hop};
use crate::isolate::Isolate;
use crate::record::{CallWatch, OutgoingRequest};
use crate::simulation::Simulation;
use jeffrey_edge::gateway::config::GatewaySettings;
use jeffrey_gateway_service::forward_host;
use jeffrey_gateway_service::host::{
    BodyError, FetchError, Host, HttpRequest, HttpResponse, ObjectCall, ObjectClass, QueueSend,
    Target,
};
use jeffrey_gateway_service::isolate::IsolateState;
use jeffrey_gateway_service::message::ObjectReply;
use jeffrey_gateway_service::request::GatewayRequest;
use jeffrey_gateway_service::request_host::{LegacyFetch, PageSource, RateLimiter, RequestHost};
use jeffrey_gateway_service::sql::StorageResult;
use jeffrey_http_core::body::BodyRead;
use jeffrey_http_core::head::RequestHead;
use jeffrey_http_core::reply::HttpReply;
use jeffrey_native_host::StoredResponse;
use jeffrey_terms::UnixMs;

/// Time that the platform gives to work behind a response, in milliseconds
/// (<https://developers.cloudflare.com/workers/platform/limits/>).
const BACKGROUND_MS_MAX: u64 = 30_000;

/// The host of one isolate.
#[derive(Clone)]
pub(crate) struct SimulatedHost {
    simulation: Rc<Simulation>,
    isolate: Rc<Isolate>,
}

impl SimulatedHost {
    pub(crate) fn new(simulation: &Rc<Simulation>, isolate: &Rc<Isolate>) -> Self {
        Self { simulation: Rc::clone(simulation), isolate: Rc::clone(isolate) }
    }

    pub(crate) const fn simulation(&self) -> &Rc<Simulation> {
        &self.simulation
    }

    /// Runs a future in the background, for as long as the platform lets it.
    fn run_in_background(&self, future: impl Future<Output = ()> + 'static) {
        let simulation = Rc::clone(&self.simulation);
        self.simulation.executor.spawn(self.isolate.owner, async move {
            let limit = simulation.executor.sleep(BACKGROUND_MS_MAX);
            if let Either::Right(_) = select(pin!(future), limit).await {
                simulation.record.count_cut_task();
            }
        });
    }

    async fn call_with_limit<T>(
        &self,
        receiver: oneshot::Receiver<T>,
        timeout_ms: u64,
    ) -> Result<T, FetchError> {
        match select(receiver, self.simulation.executor.sleep(timeout_ms)).await {
            Either::Left((Ok(response), _)) => Ok(response),
            // The other side ended before it answered.
            Either::Left((Err(_), _)) => Err(FetchError::Failed),
            Either::Right(_) => Err(FetchError::TimedOut),
        }
    }
}

impl Host for SimulatedHost {
    fn now(&self) -> UnixMs {
        UnixMs(self.simulation.now_ms().saturating_add_signed(self.isolate.clock_offset_ms.get()))
    }

    fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        for chunk in bytes.chunks_mut(8) {
            let random = self.isolate.random.borrow_mut().number().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
        bytes
    }

    fn settings(&self) -> Rc<GatewaySettings> {
        Rc::clone(&self.isolate.settings)
    }

    fn isolate(&self) -> &IsolateState {
        &self.isolate.state
    }

    fn log(&self, line: &str) {
        self.simulation.record.check_privacy("the log", line.as_bytes());
    }

    fn log_error(&self, line: &str) {
        self.log(line);
        self.simulation.trace(|| format!("error of {:?}: {line}", self.isolate.owner));
    }

    async fn sleep(&self, ms: u64) {
        self.simulation.executor.sleep(ms).await;
    }

    async fn send(&self, request: HttpRequest<'_>) -> Result<HttpResponse, FetchError> {
        let simulation = &self.simulation;
        let (hop, url) = match request.target {
            Target::Legacy(url) => (Hop::Legacy, url),
            Target::Model(path) => (Hop::Model, path),
            Target::Url(url) if url.contains("//sink") => (Hop::Sinks, url),
            Target::Url(url) => (Hop::Alerts, url),
        };
        if matches!(hop, Hop::Alerts | Hop::Sinks) {
            simulation.record.check_privacy(url, request.body);
        }
        let passage = simulation.conditions.draw_passage(hop, simulation.now_ms());
        if passage.disturbance == Some(Disturbance::Failed) {
            simulation.executor.sleep(passage.request_ms).await;
            return Err(FetchError::Failed);
        }
        if passage.disturbance == Some(Disturbance::Silent) {
            simulation.executor.sleep(request.timeout_ms).await;
            return Err(FetchError::TimedOut);
        }
        let authorization = request.headers.iter().find(|(name, _)| *name == "authorization");
        let sent = OutgoingRequest {
            authorization: authorization.map(|(_, value)| (*value).to_owned()),
            url: url.to_owned(),
            body: request.body.to_vec(),
        };
        let _in_flight = simulation.record.begin_alert(hop, self.isolate.owner, &sent);
        let (sender, receiver) = oneshot::channel();
        let peers = Rc::clone(simulation);
        simulation.executor.spawn(Owner::Surroundings, async move {
            peers.executor.sleep(passage.request_ms).await;
            if passage.disturbance == Some(Disturbance::Doubled) {
                let _ = peers.answer_http(hop, &sent);
            }
            let (service_ms, mut response) = peers.answer_http(hop, &sent);
            peers.executor.sleep(service_ms + passage.response_ms).await;
            match passage.disturbance {
                Some(Disturbance::Closed) => drop(sender),
                Some(Disturbance::ResponseLost) => peers.never_answer(sender),
                disturbance => {
                    if disturbance == Some(Disturbance::CutBody) {
                        response.body = Err(BodyError::Broken);
                    }
                    peers.record.http_answered(hop, &sent, response.status);
                    let _ = sender.send(response);
                }
            }
        });
        self.call_with_limit(receiver, request.timeout_ms).await
    }

    fn has_objects(&self, _: ObjectClass) -> bool {
        true
    }

    async fn call_object(&self, call: ObjectCall<'_>) -> Result<Vec<u8>, FetchError> {
        let simulation = &self.simulation;
        let began_ms = simulation.now_ms();
        let watch = simulation.record.watch_append(call);
        let result = self.pass_message(call).await;
        if call.class == ObjectClass::Rollout
            && (result.is_err() || simulation.now_ms() - began_ms > 1_000)
        {
            self.isolate.rollout_trouble_at_ms.set(simulation.now_ms());
        }
        if let (Ok(_), Some(watch)) = (&result, watch) {
            simulation.record.append_acknowledged(watch);
        }
        result
    }

    async fn send_to_queue(&self, event: &str) -> QueueSend {
        let simulation = &self.simulation;
        simulation.record.event_made(&self.isolate, event, simulation.now_ms());
        simulation.check_disabled(&self.isolate, event);
        let result = simulation.send_to_queue(event).await;
        if result == QueueSend::Sent {
            simulation.record.event_acknowledged(event);
        }
        result
    }
}

impl SimulatedHost {
    async fn pass_message(&self, call: ObjectCall<'_>) -> Result<Vec<u8>, FetchError> {
        let simulation = &self.simulation;
        let passage = simulation.conditions.draw_passage(Hop::Objects, simulation.now_ms());
        match passage.disturbance {
            Some(Disturbance::Failed) => {
                simulation.executor.sleep(passage.request_ms).await;
                return Err(FetchError::Failed);
            }
            Some(Disturbance::Silent) => {
                simulation.executor.sleep(call.timeout_ms).await;
                return Err(FetchError::TimedOut);
            }
            _ => {}
        }
        let (sender, receiver) = oneshot::channel::<StorageResult<ObjectReply>>();
        let cell = simulation.object_cell(call.class, call.name);
        let (objects, message) = (Rc::clone(simulation), call.message.to_vec());
        simulation.executor.spawn(Owner::Surroundings, async move {
            objects.executor.sleep(passage.request_ms).await;
            if passage.disturbance == Some(Disturbance::Doubled) {
                objects.deliver_message(&cell, message.clone(), None, 0);
            }
            match passage.disturbance {
                Some(Disturbance::Closed) => {
                    objects.deliver_message(&cell, message, None, 0);
                    drop(sender);
                }
                Some(Disturbance::ResponseLost) => {
                    objects.deliver_message(&cell, message, None, 0);
                    objects.never_answer(sender);
                }
                _ => objects.deliver_message(&cell, message, Some(sender), passage.response_ms),
            }
        });
        match self.call_with_limit(receiver, call.timeout_ms).await? {
            Ok(_) if passage.disturbance == Some(Disturbance::CutBody) => Err(FetchError::Failed),
            Ok(reply) if reply.status == 200 => Ok(reply.body),
            Ok(_) | Err(_) => Err(FetchError::Failed),
        }
    }
}

/// One incoming request of an isolate.
#[derive(Clone)]
pub(crate) struct SimulatedRequest {
    host: SimulatedHost,
    head: RequestHead,
    /// `None` if the client breaks the connection off.
    body: Option<Rc<Vec<u8>>>,
    watch: Rc<CallWatch>,
}

forward_host!(SimulatedRequest, host);

impl SimulatedRequest {
    pub(crate) fn new(
        host: SimulatedHost,
        head: RequestHead,
        body: Option<Rc<Vec<u8>>>,
        watch: Rc<CallWatch>,
    ) -> Self {
        Self { host, head, body, watch }
    }

    /// Answers the request as the gateway Worker does.
    pub(crate) async fn respond(self) -> Result<StoredResponse, FetchError> {
        let head = self.head.clone();
        GatewayRequest::new(self, head).respond().await
    }
}

impl RequestHost for SimulatedRequest {
    type Response = StoredResponse;

    async fn read_body(&self, bytes_max: usize) -> BodyRead {
        self.host.simulation.executor.sleep(1).await;
        match &self.body {
            None => BodyRead::Broken,
            Some(body) if body.len() > bytes_max => BodyRead::TooLarge,
            Some(body) => BodyRead::Complete(body.to_vec()),
        }
    }

    fn wait_until(&self, future: impl Future<Output = ()> + 'static) {
        self.host.run_in_background(future);
    }

    async fn is_over_limit(&self, _: RateLimiter, key: String) -> bool {
        self.host.simulation().is_over_limit(key)
    }

    fn has_legacy_binding(&self) -> bool {
        false
    }

    async fn fetch_legacy(&self, fetch: LegacyFetch<'_>) -> Result<StoredResponse, FetchError> {
        let simulation = self.host.simulation();
        let body = fetch.buffered.or(self.body.as_deref().map(Vec::as_slice));
        simulation.record.check_forwarded(self.body.as_deref().map(Vec::as_slice), body);
        let body = body.unwrap_or_default().to_vec();
        let answered = simulation.send_to_legacy(&self.head, body, fetch.timeout_ms, &self.watch);
        // The exchange goes on if this isolate ends (`guard.rs`).
        let _ = answered.await;
        self.watch.take_upstream().unwrap_or(Err(FetchError::Failed))
    }

    async fn fetch_page_file(
        &self,
        source: PageSource,
        path: &str,
        _timeout_ms: u64,
    ) -> Result<StoredResponse, FetchError> {
        let text = format!("{source:?} {path}");
        Ok(StoredResponse::new(200, &[("content-type", "text/plain")], text.as_bytes()))
    }

    fn new_response(&self, response: &HttpReply) -> Result<StoredResponse, FetchError> {
        Ok(StoredResponse::from_reply(response))
    }

    fn stream_response(
        &self,
        headers: &[(&str, &str)],
        chunks: impl ResponseChunks<Item = Vec<u8>> + 'static,
    ) -> Result<StoredResponse, FetchError> {
        Ok(StoredResponse::new(200, headers, &[]).with_stream(chunks))
    }
}
