//! Modal's client behind a proxy, as it reads the usual variables itself.

use std::time::{Duration, Instant};

use super::Remote;
use super::support::proxy::Proxy;

/// `get_proxy_url` in `modal/_utils/proxy_support.py` of 1.6.4 reads `HTTP_PROXY`, `HTTPS_PROXY`,
/// `ALL_PROXY` and `NO_PROXY`; calls need python-socks for it, and volumes aiohttp-socks.
#[test]
fn the_client_works_behind_a_proxy_and_says_why_it_does_not() {
    let Some(mut remote) = Remote::applied() else { return };
    let modal = format!("127.0.0.1:{}", remote.modal.port);
    let proxy = Proxy::start(200);
    let project = &mut remote.hubbed.project;
    for (name, value) in [("ALL_PROXY", proxy.url.as_str()), ("NO_PROXY", ""), ("no_proxy", "")] {
        project.variable(name, value);
    }
    let plan = project.plan("").0;
    assert_eq!(plan["summary"]["fresh"], plan["steps"].as_array().unwrap().len(), "{plan}");
    let led = proxy.led();
    assert!(!led.is_empty() && led.contains(&modal), "{led:?}");

    // A lease, and what is kept: what is written goes the same way.
    project.edit("specs/tiny.toml", "[engine]", "[serve]\nscaledown-window = \"90s\"\n\n[engine]");
    project.run("apply --yes --only deploy:tiny").exits(0);

    // What the proxy says is what is told, at once.
    project.variable("ALL_PROXY", &Proxy::start(407).url);
    let began = Instant::now();
    project
        .run("plan")
        .exits(0)
        .says(&["Modal could not be reached", "ProxyError(ReplyError('407 Told'))"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}
