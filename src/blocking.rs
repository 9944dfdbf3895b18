//! Synchronous work on a thread of its own, beside the event loop.

use crate::event::Cancelled;
use crate::step::StepError;

/// Runs work that hashes, inflates or copies for long. A panic in it goes on in the caller.
///
/// Dropping the future does not stop the work: it has to look at its reporter.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Cancelled.into()),
    }
}
