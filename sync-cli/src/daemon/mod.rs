//! The daemon, from both ends of its socket.
//!
//! [`api`] is what is said; [`routes`] answers within the daemon, whose life is in [`run`]; [`client`] asks; [`spawn`]
//! starts one in the background. Only [`run`] holds a node. The socket belongs to one user, and who may connect to it
//! may do everything: there are no rights beyond that.

pub mod api;
pub mod client;
pub mod routes;
pub mod run;
pub mod spawn;
