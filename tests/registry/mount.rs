//! Layers of a base that are in the registry already, where their repository may not be read.

use goatbuild::platform::Architecture;
use serde_json::json;

use super::support::peers;
use super::support::project::Project;
use super::support::registry::{Bases, PASSWORD};
use super::support::registry_double::{Door, REPOSITORY, RegistryDouble};
use super::{configured, debian, entry, forget, image_file, inspect};

#[test]
fn a_base_that_may_not_be_mounted_is_sent_instead() {
    for door in [Door::Basic, Door::Bearer] {
        let Some(mut project) = Project::new() else { return };
        configured(&mut project, &json!({}));
        let bases = Bases::new(&peers::directory());
        let layer = debian(&project, &bases);
        bases.image("debian", Architecture::Amd64, vec![layer], &[]);
        forget(&project);
        let double = RegistryDouble::start(&bases.path(), door);
        configured(&mut project, &entry(&double.host, PASSWORD));
        let base = format!("{}/{REPOSITORY}:debian", double.host);
        project.write("images/tiny.toml", &image_file(&base, ""));
        project.apply("--only image:tiny").ran();
        let inspected = inspect(&project);
        let blobs = inspected["layers"].as_array().expect("layers").len() + 1;

        double.guards_others();
        double.forget_requests();
        project.run(&format!("image push tiny {}/goat/tiny:1", double.host)).exits(0);
        let digest = inspected["digest"].as_str().expect("a digest");
        assert!(double.pushed("goat/tiny", digest).is_some(), "{door:?}");
        assert_eq!(double.pushed("goat/tiny", "1"), double.pushed("goat/tiny", digest));
        let requests = double.requests();
        assert_eq!(double.asked("PUT", "/blobs/uploads/"), blobs, "{requests:?}");
        // Once it is known that it may not, it isn't asked for.
        let asked = double.asked("POST", "mount=");
        match door {
            Door::Basic => assert!((1..=4).contains(&asked), "{requests:?}"),
            _ => assert_eq!(asked, 0, "{requests:?}"),
        }
    }
}
