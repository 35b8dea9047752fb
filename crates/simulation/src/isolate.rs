//! State of one isolate: what ends with it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::executor::Owner;
use crate::random::Stream;
use jeffrey_edge::gateway::config::GatewaySettings;
use jeffrey_gateway_service::isolate::IsolateState;

/// An isolate of the gateway, or the one in which an object runs.
pub(crate) struct Isolate {
    /// Number of the isolate, or of the object.
    pub(crate) number: u32,
    pub(crate) owner: Owner,
    pub(crate) state: IsolateState,
    pub(crate) settings: Rc<GatewaySettings>,
    pub(crate) clock_offset_ms: Cell<i64>,
    pub(crate) clock_stepped_at_ms: Cell<u64>,
    pub(crate) random: RefCell<Stream>,
    /// Time of its last call to the rollout object that failed or took long; 0 for never.
    pub(crate) rollout_trouble_at_ms: Cell<u64>,
}

impl Isolate {
    pub(crate) fn new(seed: u64, settings: Rc<GatewaySettings>, owner: Owner) -> Rc<Self> {
        let (number, stream) = match owner {
            Owner::Object(object, starts) => {
                (object, Stream::new(seed, "object", u64::from(object) << 32 | u64::from(starts)))
            }
            Owner::Isolate(number) => (number, Stream::new(seed, "isolate", u64::from(number))),
            Owner::Surroundings => (0, Stream::new(seed, "surroundings", 0)),
        };
        Rc::new(Self {
            number,
            owner,
            state: IsolateState::default(),
            settings,
            clock_offset_ms: Cell::new(0),
            clock_stepped_at_ms: Cell::new(0),
            random: RefCell::new(stream),
            rollout_trouble_at_ms: Cell::new(0),
        })
    }
}
