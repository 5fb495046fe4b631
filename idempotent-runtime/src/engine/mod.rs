//! One request: acquire the key, run the handler, store its response, answer.

pub(crate) mod acquire;
pub(crate) mod admission;
pub(crate) mod deadline;
mod heartbeat;
pub(crate) mod outage_log;
mod outcome;
pub(crate) mod page;
pub(crate) mod protect;
mod recover;
mod run;
pub(crate) mod waiters;

use std::{any::Any, future::Future, pin::Pin, sync::Arc};

use axum::response::Response;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub(crate) use self::protect::{CapturedRequest, protect, refuse};
use self::{outage_log::OutageLog, waiters::Waiters};
use crate::{config::settings::Settings, journal::Journal, request::room::Room, store::DynStore};

/// What all clones share.
pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) journal: Option<Arc<dyn Journal>>,
    pub(crate) waiters: Waiters,
    pub(crate) outage_log: OutageLog,
    /// Every detached task, so that a shutdown can wait for them.
    pub(crate) tasks: TaskTracker,
    pub(crate) in_flight: Arc<Semaphore>,
    /// For the bodies of the requests in flight.
    pub(crate) room: Arc<Room>,
    /// Claims without an answer that are being set free again.
    pub(crate) releases: Arc<Semaphore>,
    /// KiB of responses that were sent and are still to be stored.
    pub(crate) unsaved: Arc<Semaphore>,
}

/// The user's handler, its last argument and its return type gone.
pub(crate) type Handler = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Response> + Send>> + Send>;

/// A response, or the panic that the handler ended in.
pub(crate) type Replied = Result<Response, Box<dyn Any + Send>>;
