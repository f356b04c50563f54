//! What the log says of clients that are refused.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use restante::smtp::Settings;
use tracing::Level;

use crate::dialogue::session_settings;
use crate::loopback::{Client, server_settings};
use crate::{ask, client, hear, serve};

/// What was written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self, event: &str) -> usize {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).lines().filter(|line| line.contains(event)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whatever the level is: lines that are not written leave none out either.
#[tokio::test]
async fn refusals_in_a_loop_hide_no_connection_that_is_turned_away() {
    for (level, refusals) in [(Level::INFO, 60), (Level::WARN, 0)] {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let mut session = session_settings();
        session.max_errors = 1_000;
        let (addr, _, _tasks) = serve(Settings { max_connections_per_ip: 1, ..server_settings(session) }).await;
        let mut loud = client(addr).await;
        for _ in 0..70 {
            ask(&mut loud, "NONSENSE", "500 ").await;
        }
        let mut second = Client::connect(addr).await.expect("the server listens");
        hear(&mut second, "421 4.7.0 too many connections from your address, ").await;
        assert_eq!((log.lines("SMTP refusal"), log.lines("SMTP connection refused")), (refusals, 1), "{level}");
    }
}
