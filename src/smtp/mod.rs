//! SMTP, the receiving side: the protocol as a value without I/O, and a driver around it that owns the socket.

mod answers;
mod backend;
mod command;
mod connection;
mod data;
mod limits;
mod parameter;
mod proxy;
mod reply;
mod server;
mod session;

pub use self::backend::Backend;
pub use self::data::BareLf;
pub use self::reply::Reply;
pub use self::server::{Server, Settings, Transport};
pub use self::session::{Action, Attempt, Question, Session, SessionSettings};
