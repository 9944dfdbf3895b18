//! Synchronous work on a thread of its own, beside the event loop.

use crate::event::Cancelled;

/// Runs work that hashes, inflates or copies for long. A panic in it goes on in the caller.
///
/// Dropping the future does not stop the work: it has to look at its reporter.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<Cancelled> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Cancelled.into()),
    }
}

/// Begins work that ends by itself, and that nobody waits for.
pub(crate) fn begin(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work);
}
