//! The scheduling kernel: which node each pod goes to, decided over a snapshot that watch events keep up.
//!
//! ```text
//! events (bytes) ─▶ wire ─▶ requirements ─┐                     ┌▶ Placed(node)   assumed until confirmed or forgotten
//!                     └──▶ snapshot ──────┴▶ class ─▶ tournament ┤
//!                                            plugins             └▶ Failed(reasons)
//! ```
//! Pure: no thread, timer, socket or random hasher. The same events and calls give the same decisions.

mod affinity;
mod budgets;
mod class;
mod domains;
mod failure;
mod hints;
mod kernel;
mod kinds;
mod labels;
mod neighbours;
mod plugins;
mod ports;
mod profile;
mod quantity;
mod requirements;
mod resource;
mod scores;
mod snapshot;
mod spread;
mod taint;
mod together;
mod topology;
mod tournament;
mod volumes;
mod wire;

pub use class::tie_break;
pub use failure::{Failure, Nomination, Preemption, Victim};
pub use kernel::{
    EventKind, Explanation, Kernel, NodeVerdict, Outcome, PodChange, PodState, RELATED, Related,
    SchedError, Scores, Stats, Verdict,
};
pub use profile::Settings;
pub use scores::default_weights;
