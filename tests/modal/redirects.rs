//! A cold start takes longer than Modal lets a request wait: it is sent on, to be asked for again.

use serde_json::json;

use super::Remote;

#[test]
fn a_start_that_outlasts_the_proxys_patience_is_waited_for() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    // Modal's own 150 s would be longer than any start here.
    remote.modal.faults(&json!({"redirect_seconds": 0.2}));
    assert!(project.apply("--yes").ran().contains(&"smoke:tiny".to_owned()));
    let sent_on = remote.modal.calls().into_iter().filter(|call| call["sent_on"].is_string());
    assert!(sent_on.count() > 1, "the first request was sent on, and sent on again");
}
