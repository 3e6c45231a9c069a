//! The one test binary of the workspace's end-to-end tests.

mod convergence;
mod nodes;
mod processes;
mod rounds;
mod tidy;
mod wire_costs;
