//! Requests that are held until mail comes: how long, how many at a time, and their end when the server stops.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Settings;
use super::key::KeyIndex;
use super::problem::Problem;
use super::query::Query;
use super::room::from_layer;
use super::stream::{Activity, Held};
use crate::metrics::{Gauge, Present};
use crate::shutdown::Shutdown;
use crate::units;

/// The longest that a request is held. Proxies on the way give up at about a minute.
pub(super) const HELD_MAX: Duration = Duration::from_secs(60);

/// The places of requests that are held, in all and for each key.
#[derive(Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_key: Arc<[Arc<Semaphore>]>,
    gauge: Gauge,
    tasks: Shutdown,
}

/// Who asks to be held: with which key, and on which connection.
pub(super) struct Waiter {
    places: Places,
    key: KeyIndex,
    connection: Option<Arc<Activity>>,
}

/// One place; dropping it gives it back.
pub(super) struct Place {
    _in_all: OwnedSemaphorePermit,
    _of_key: OwnedSemaphorePermit,
    _on_connection: Option<Held>,
    _present: Present,
}

impl Places {
    pub(super) fn new(settings: &Settings, gauge: Gauge, tasks: &Shutdown) -> Self {
        let of_key = settings.keys.iter().map(|_| Arc::new(Semaphore::new(settings.max_waiters_per_key)));
        let all = Arc::new(Semaphore::new(settings.max_waiters));
        Self { all, of_key: of_key.collect(), gauge, tasks: tasks.clone() }
    }
}

impl Waiter {
    /// For who does not wait.
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        let places = Places::new(&Settings::for_tests(), Gauge::default(), &Shutdown::new());
        Self { places, key: KeyIndex(0), connection: None }
    }

    /// Where what is left to do runs when the request has gone.
    pub(super) const fn tasks(&self) -> &Shutdown {
        &self.places.tasks
    }

    /// Takes a place.
    ///
    /// # Errors
    /// Where there is none left.
    pub(super) fn take(&self) -> Result<Place, Problem> {
        let Self { places, key: KeyIndex(key), connection } = self;
        let of_key = places.of_key.get(*key).cloned().and_then(|places| places.try_acquire_owned().ok());
        match (places.all.clone().try_acquire_owned(), of_key) {
            (Ok(in_all), Some(of_key)) => {
                let on_connection = connection.clone().map(Activity::hold);
                let present = Present::new(&places.gauge);
                Ok(Place { _in_all: in_all, _of_key: of_key, _on_connection: on_connection, _present: present })
            }
            (Err(_), _) => {
                Err(Problem::too_many_waiters("the server holds as many requests as it may, API_MAX_WAITERS"))
            }
            (_, None) => Err(Problem::too_many_waiters(
                "as many requests with this key are held as may be, API_MAX_WAITERS_PER_KEY",
            )),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Waiter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let connection = parts.extensions.get().cloned();
        Ok(Self { places: from_layer(parts)?, key: from_layer(parts)?, connection })
    }
}

/// How long the request for `uri` may be held, where it asks for that.
pub(super) fn asked_by(uri: &Uri) -> Option<Duration> {
    let query = Query::parse(uri.query().unwrap_or_default(), None).ok()?;
    let value = query.value("wait").or_else(|| query.value("for"))?;
    // What cannot be read is refused by the route; until then it has the longest time.
    Some(units::duration(value).map_or(HELD_MAX, |asked| asked.min(HELD_MAX)))
}
