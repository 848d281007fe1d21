//! The only crate that names PyO3: one thin adapter file per crate.

mod calls;
mod etcd;
mod forward;
mod local;
mod log_writer;
mod notifier;
mod object;
mod sched;
mod store;
mod transform;
mod wire;

use pyo3::prelude::*;

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    store::register(module)?;
    etcd::register(module)?;
    object::register(module)?;
    sched::register(module)?;
    transform::register(module)?;
    wire::register(module)
}
