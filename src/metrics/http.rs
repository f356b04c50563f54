//! What the API counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::{Counters, Handshake, Refused, timing};

/// The methods that are told by their name; a client can make up any other.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What becomes of a path that no route has, and of a method that nobody knows.
const OTHER: &str = "other";

/// A request that has been answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The template of its route, never its path; `None` where there is no route.
    pub route: Option<&'a str>,
    /// Its method.
    pub method: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// Which problem the answer is; a text of the program.
    pub problem: Option<&'static str>,
    /// How long it took, unless it was to be held until mail comes.
    pub took: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: String,
    method: &'static str,
    status: &'static str,
}

/// The API.
#[derive(Debug)]
pub struct Http {
    /// Connections that were let in.
    pub accepted: Counter,
    /// Connections that were turned away.
    pub refused: Counters<Refused>,
    /// Connections that are open now.
    pub open: Gauge,
    /// TLS handshakes.
    pub handshakes: Counters<Handshake>,
    /// Requests that are being answered now.
    pub in_progress: Gauge,
    /// Requests that are held now until mail comes.
    pub held: Gauge,
    /// Wrong keys.
    pub failed_keys: Counter,
    /// Requests that ended in a panic.
    pub panics: Counter,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    problems: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            accepted: Counter::default(),
            refused: Counters::default(),
            open: Gauge::default(),
            handshakes: Counters::default(),
            in_progress: Gauge::default(),
            held: Gauge::default(),
            failed_keys: Counter::default(),
            panics: Counter::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(timing::histogram),
            problems: Family::default(),
        }
    }
}

impl Http {
    /// Counts a request.
    pub fn answered(&self, request: Answered<'_>) {
        let route = request.route.unwrap_or(OTHER).to_owned();
        let method = METHODS.into_iter().find(|method| *method == request.method).unwrap_or(OTHER);
        let status = match request.status {
            100..200 => "1xx",
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        if let Some(took) = request.took {
            self.durations.get_or_create(&Route { route: route.clone() }).observe(took.as_secs_f64());
        }
        if let Some(problem) = request.problem {
            self.problems.get_or_create(&[("error", problem)]).inc();
        }
        self.requests.get_or_create(&Request { route, method, status }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("restante_http_connections_accepted", "HTTP connections let in", self.accepted.clone());
        self.refused.register("restante_http_connections_refused", "HTTP connections turned away", registry);
        registry.register("restante_http_open_connections", "HTTP connections open now", self.open.clone());
        self.handshakes.register("restante_http_tls_handshakes", "TLS handshakes of HTTP connections", registry);
        registry.register(
            "restante_http_requests",
            "Requests answered, by the template of the route",
            self.requests.clone(),
        );
        registry.register(
            "restante_http_request_duration_seconds",
            "From a request to its answer, without requests that may be held until mail comes",
            self.durations.clone(),
        );
        registry.register("restante_http_problems", "Requests answered with a problem document", self.problems.clone());
        registry.register(
            "restante_http_requests_in_progress",
            "Requests that are being answered now",
            self.in_progress.clone(),
        );
        registry.register(
            "restante_http_held_requests",
            "Requests held now until mail comes, streams among them",
            self.held.clone(),
        );
        registry.register("restante_http_failed_keys", "Requests with a wrong API key", self.failed_keys.clone());
        let panics = "Requests that ended in a panic; anything but nought is a fault of the program";
        registry.register("restante_http_panics", panics, self.panics.clone());
    }
}
