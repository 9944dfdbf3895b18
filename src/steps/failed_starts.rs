//! Starts that fail while a deployment is tried out: after a few of them nobody waits for another.

use std::time::Duration;

use crate::clock;
use crate::event::Reporter;
use crate::openai::ApiError;
use crate::targets::{Starts, Tried};

/// After how many it is given up.
const MOST: usize = 3;

/// Before they are looked for the first time, which doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_secs(4);

const LONGEST: Duration = Duration::from_secs(15);

/// Waits until too many starts have failed since now, of those that what is tried out began; for ever
/// where nobody tells.
pub(super) async fn too_many(
    starts: Option<(&dyn Starts, Tried)>,
    model: &str,
    reporter: &Reporter,
) -> ApiError {
    let Some((starts, tried)) = starts else { return std::future::pending().await };
    let since = clock::seconds();
    let (mut pause, mut known) = (FIRST, 0);
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST);
        // Whatever keeps it from being told: it is asked all the same.
        let failed = starts.failed(model, tried, since).await.unwrap_or_default();
        let Some(last) = failed.last().filter(|_| failed.len() > known) else { continue };
        known = failed.len();
        reporter.log(format!("{known} of {MOST} starts failed: {}", last.how));
        if known >= MOST {
            let words = starts.last_words(model, tried, last).await.unwrap_or_default();
            for line in &words {
                reporter.log(line);
            }
            let (model, how) = (model.to_owned(), last.how.clone());
            return ApiError::Starts { model, count: known, how, words };
        }
    }
}
