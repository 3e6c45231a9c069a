//! The one test binary of the workspace's end-to-end tests.

mod convergence;
mod hostile;
mod nodes;
mod processes;
mod tidy;
mod wire_costs;
