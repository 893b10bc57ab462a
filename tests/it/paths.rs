//! Paths: routed by the bytes that are forwarded.

use crate::support::evenkeel::pool;
use crate::support::{Evenkeel, Origin};

const ROUTES: &str =
    "routes:\n  - match: { path_prefix: /admin }\n    respond: { status: 403, body: no }\n  - pool: web\n";

#[test]
fn no_spelling_of_a_path_gets_past_its_route() {
    let origin = Origin::saying("hello");
    let pool = pool(&[origin.address], "");
    let evenkeel = Evenkeel::start(&format!("{pool}{ROUTES}"));
    for path in [
        "/admin",
        "/v1/../admin",
        "/./admin/x",
        "/%61dmin",
        "/v1/%2e%2e/admin",
        "/a/b/../../admin",
        "http://test/./admin",
    ] {
        assert_eq!(evenkeel.get(path).status, 403, "{path}");
    }
    for path in ["/v1/..%2fadmin", "/..\\admin", "/v1/..;/admin", "/v1/%2e%2e%5cadmin"] {
        let response = evenkeel.get(path);
        assert_eq!((response.status, response.reason()), (400, "bad_request"), "{path}");
    }
    assert_eq!(origin.count(), 0);
    for (path, forwarded) in [("/v1/./a/?b=/../c", "/v1/a/?b=/../c"), ("//admin", "//admin"), ("/%7Ea%2f", "/~a%2F")] {
        assert_eq!(evenkeel.get(path).status, 200, "{path}");
        assert_eq!(origin.last().head.word(1), forwarded);
    }
    evenkeel.reload(&format!("normalize_path: false\n{pool}{ROUTES}"));
    assert_eq!(evenkeel.get("/v1/../admin").status, 200, "as it came");
    assert_eq!(origin.last().head.word(1), "/v1/../admin");
}
