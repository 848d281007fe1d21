//! How a sleeper is told that there is something for it.

/// Called from the driver's thread, never under a lock of the hub. It must be quick and must not call back into the hub:
/// set a flag, write to an eventfd, wake a task.
pub trait Wake: Send + Sync {
    fn wake(&self);
}

impl<F: Fn() + Send + Sync> Wake for F {
    fn wake(&self) {
        self();
    }
}
