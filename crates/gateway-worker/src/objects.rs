//! The two Durable Objects on Cloudflare's runtime: storage, alarm and the platform's own stores.

use std::rc::Rc;

use worker::durable::State;
use worker::wasm_bindgen::prelude::*;
use worker::{
    AnalyticsEngineDataPointBuilder, DurableObject, Env, Request, Response, Result,
    SqlStorageValue, durable_object,
};

use super::host::WorkerHost;
use jeffrey_edge::gateway::export::cloudflare::AnalyticsDataPoint;
use jeffrey_edge::gateway::export::sink::{ANALYTICS_SINK, ARCHIVE_SINK, Sink, SinkKind};
use jeffrey_gateway_service::event_store;
use jeffrey_gateway_service::host::ObjectHost;
use jeffrey_gateway_service::message::ObjectReply;
use jeffrey_gateway_service::rollout;
use jeffrey_gateway_service::sql::{Sql, SqlRow, SqlValue, StorageError, StorageResult};
use jeffrey_terms::UnixMs;

/// Names of the bindings of the platform's own stores.
const ARCHIVE_BINDING: &str = "ARCHIVE";
const ANALYTICS_BINDING: &str = "ANALYTICS";

#[wasm_bindgen]
extern "C" {
    /// Storage of an object, for the method that `worker` does not bind.
    type ObjectStorage;

    #[wasm_bindgen(method, catch, js_name = transactionSync)]
    fn transaction_sync(
        this: &ObjectStorage,
        work: &mut dyn FnMut() -> std::result::Result<(), JsValue>,
    ) -> std::result::Result<JsValue, JsValue>;
}

/// The platform of one object.
#[derive(Clone)]
struct WorkerObjectHost {
    host: WorkerHost,
    state: Rc<State>,
}

impl WorkerObjectHost {
    fn new(state: State, env: Env) -> Self {
        Self { host: WorkerHost::new(env), state: Rc::new(state) }
    }
}

jeffrey_gateway_service::forward_host!(WorkerObjectHost, host);

impl Sql for WorkerObjectHost {
    fn execute(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<usize> {
        let cursor = self.state.storage().sql().exec(query, to_platform_values(values));
        Ok(cursor.map_err(refused)?.rows_written())
    }

    fn query(&self, query: &str, values: Vec<SqlValue>) -> StorageResult<Vec<SqlRow>> {
        let cursor = self.state.storage().sql().exec(query, to_platform_values(values));
        let to_row = |row: Result<Vec<SqlStorageValue>>| {
            Ok(SqlRow(
                row.map_err(refused)?
                    .into_iter()
                    .map(from_platform_value)
                    .collect::<StorageResult<_>>()?,
            ))
        };
        cursor.map_err(refused)?.raw().map(to_row).collect()
    }

    fn transaction<T>(&self, work: impl FnOnce() -> StorageResult<T>) -> StorageResult<T> {
        let storage = self.state.as_raw().storage();
        let storage = storage.map_err(|error| refused(error.into()))?;
        let (mut work, mut outcome) = (Some(work), None);
        // The platform rolls a transaction back if its closure throws, so an error leaves the
        // closure as a JavaScript exception.
        let mut run = || {
            let result = work.take().map(|work| work());
            let failed = !matches!(result, Some(Ok(_)));
            outcome = result;
            if failed { Err(JsValue::from_str("rolled back")) } else { Ok(()) }
        };
        let commit = storage.unchecked_ref::<ObjectStorage>().transaction_sync(&mut run);
        match (outcome, commit) {
            (Some(Ok(value)), Ok(_)) => Ok(value),
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(refused(error.into())),
            (None, Ok(_)) => Err(StorageError::Refused { message: "not run".to_owned() }),
        }
    }
}

impl ObjectHost for WorkerObjectHost {
    fn object_id(&self) -> String {
        self.state.id().to_string()
    }

    async fn alarm(&self) -> StorageResult<Option<UnixMs>> {
        let alarm_ms = self.state.storage().get_alarm().await.map_err(refused)?;
        Ok(alarm_ms.and_then(|ms| u64::try_from(ms).ok()).map(UnixMs))
    }

    async fn set_alarm(&self, delay_ms: u64) -> StorageResult<()> {
        let delay_ms = i64::try_from(delay_ms).unwrap_or(i64::MAX);
        self.state.storage().set_alarm(delay_ms).await.map_err(refused)
    }

    fn wait_until(&self, future: impl Future<Output = ()> + 'static) {
        self.state.wait_until(future);
    }

    fn platform_sinks(&self) -> Vec<Sink> {
        let env = self.host.env();
        let archive = env.bucket(ARCHIVE_BINDING).is_ok();
        let analytics = env.analytics_engine(ANALYTICS_BINDING).is_ok();
        let archive = archive.then_some((ARCHIVE_SINK, SinkKind::Archive));
        let analytics = analytics.then_some((ANALYTICS_SINK, SinkKind::Analytics));
        let sinks = archive.into_iter().chain(analytics).map(|(name, kind)| Sink {
            name: name.to_owned(),
            kind,
            url: String::new(),
            authorization: None,
        });
        sinks.collect()
    }

    fn write_data_points(&self, points: Vec<AnalyticsDataPoint>) -> bool {
        let Ok(dataset) = self.host.env().analytics_engine(ANALYTICS_BINDING) else { return false };
        points.into_iter().all(|point| {
            AnalyticsEngineDataPointBuilder::new()
                .indexes([point.index.as_str()])
                .blobs(point.blobs)
                .doubles(point.doubles)
                .write_to(&dataset)
                .is_ok()
        })
    }

    async fn archive(&self, key: String, body: Vec<u8>) -> bool {
        match self.host.env().bucket(ARCHIVE_BINDING) {
            Ok(bucket) => bucket.put(key, body).execute().await.is_ok(),
            Err(_) => false,
        }
    }
}

fn to_platform_values(values: Vec<SqlValue>) -> Vec<SqlStorageValue> {
    let to_platform = |value| match value {
        SqlValue::Null => SqlStorageValue::Null,
        SqlValue::Integer(number) => SqlStorageValue::Integer(number),
        SqlValue::Text(text) => SqlStorageValue::String(text),
        SqlValue::Blob(bytes) => SqlStorageValue::Blob(bytes),
    };
    values.into_iter().map(to_platform).collect()
}

fn from_platform_value(value: SqlStorageValue) -> StorageResult<SqlValue> {
    Ok(match value {
        SqlStorageValue::Null => SqlValue::Null,
        SqlStorageValue::Integer(number) => SqlValue::Integer(number),
        SqlStorageValue::String(text) => SqlValue::Text(text),
        SqlStorageValue::Blob(bytes) => SqlValue::Blob(bytes),
        // A number that JavaScript rounds.
        SqlStorageValue::Boolean(_) | SqlStorageValue::Float(_) => {
            return Err(StorageError::Malformed { what: "no exact number".to_owned() });
        }
    })
}

fn refused(error: worker::Error) -> StorageError {
    StorageError::Refused { message: error.to_string() }
}

fn to_response(reply: StorageResult<ObjectReply>) -> Result<Response> {
    let reply = reply.map_err(|error| worker::Error::RustError(error.to_string()))?;
    Ok(Response::from_bytes(reply.body)?.with_status(reply.status))
}

/// One shard of the event store.
#[durable_object(alarm)]
pub struct EventStoreObject {
    object: event_store::object::EventStoreObject<WorkerObjectHost>,
}

impl DurableObject for EventStoreObject {
    fn new(state: State, env: Env) -> Self {
        let host = WorkerObjectHost::new(state, env);
        Self { object: event_store::object::EventStoreObject::new(host) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let message = request.bytes().await?;
        to_response(self.object.reply_to(&message).await)
    }

    async fn alarm(&self) -> Result<Response> {
        let done = self.object.on_alarm().await;
        to_response(done.map(|()| ObjectReply::from_bytes(Vec::new())))
    }
}

/// The rollout object of one release.
#[durable_object(alarm)]
pub struct RolloutObject {
    object: rollout::object::RolloutObject<WorkerObjectHost>,
}

impl DurableObject for RolloutObject {
    fn new(state: State, env: Env) -> Self {
        let host = WorkerObjectHost::new(state, env);
        Self { object: rollout::object::RolloutObject::new(host) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let message = request.bytes().await?;
        to_response(self.object.reply_to(&message).await)
    }

    async fn alarm(&self) -> Result<Response> {
        let done = self.object.on_alarm().await;
        to_response(done.map(|()| ObjectReply::from_bytes(Vec::new())))
    }
}
