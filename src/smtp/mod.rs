//! SMTP, the receiving side: the protocol as a value without I/O, and a driver around it that owns the socket.

mod backend;
mod reply;

pub use self::backend::Backend;
pub use self::reply::Reply;
