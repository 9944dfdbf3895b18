//! A model that is deployed, seen, kept and removed.

use super::Remote;

#[test]
fn a_model_is_built_fetched_deployed_tried_and_told_to_the_gateway() {
    let Some(remote) = Remote::new() else { return };
    let project = &remote.hubbed.project;
    let ran = project.apply("--yes").ran();
    assert_eq!(
        ran,
        ["deploy:tiny", "gateway:tiny", "image:tiny", "smoke:tiny", "weights:acme/tiny"]
    );
}
