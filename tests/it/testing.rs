//! The test kit that users have, from a user's side.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use evenkeel::testing::{Answer, Backend, Balancer};

fn plain(pool: &str) -> Balancer {
    Balancer::start(&format!("pools: {{ web: {{ {pool} }} }}"), |app| app)
}

#[test]
fn a_request_goes_through_with_all_that_it_has() {
    let backend = Backend::answering(|request| {
        let answer = Answer::new(201).header("Set-Cookie", "a=1").header("set-cookie", "b=2");
        answer.body(format!("{} {}", request.headers("x-one").join("+"), request.text()))
    });
    let balancer = plain(&format!("backends: [{backend}]"));
    let request = balancer.request("PUT", "/path?query").header("X-One", 1).header("x-one", 2);
    let response = request.header("Host", "example.org").body("the body").send();
    assert_eq!((response.status(), &*response.text()), (201, "1+2 the body"));
    assert_eq!(response.headers("SET-COOKIE"), ["a=1", "b=2"]);
    let [seen] = &backend.requests()[..] else { panic!("{:?}", backend.requests()) };
    assert_eq!((seen.method(), seen.target(), seen.header("host")), ("PUT", "/path?query", Some("example.org")));
    assert_eq!((seen.body(), backend.connections()), (&b"the body"[..], 1));
    balancer.wait_until("it is counted", |balancer| balancer.metric("evenkeel_requests_total{pool=\"web\"}") == 1.0);
    assert_eq!(balancer.metric("evenkeel_requests_total{code=\"5xx\"}"), 0.0);
}

#[test]
fn a_backend_follows_its_script() {
    let never = "retry: off, health_check: off";
    let backend = Backend::script([
        Answer::close(),
        Answer::reset(),
        Answer::new(200).body("whole").cut_after(2),
        Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nraw"),
        Answer::new(404).after(Duration::from_millis(50)),
        Answer::new(200).body("the last"),
    ]);
    let balancer = plain(&format!("backends: [{backend}], {never}"));
    assert_eq!(balancer.get("/").send().status(), 502);
    assert_eq!(balancer.get("/").send().status(), 502);
    let broken = balancer.get("/").send();
    assert_eq!((broken.status(), broken.is_whole(), broken.body()), (200, false, &b"wh"[..]));
    assert_eq!(balancer.get("/").send().text(), "raw");
    let began = Instant::now();
    assert_eq!(balancer.get("/").send().status(), 404);
    assert!(began.elapsed() >= Duration::from_millis(50));
    for _ in 0..2 {
        assert_eq!(balancer.get("/").send().text(), "the last");
    }
    assert_eq!(balancer.request("HEAD", "/").send().header("content-length"), Some("8"));
}

#[test]
fn probes_of_health_checks_are_answered_and_not_recorded() {
    let backend = Backend::script([Answer::new(200).body("asked")]);
    let balancer = plain(&format!("backends: [{backend}], health_check: {{ http: {{ path: /health }} }}"));
    assert_eq!(balancer.pool("web").backends[0].state, "healthy");
    assert_eq!(balancer.get("/").send().text(), "asked");
    assert_eq!(backend.requests().len(), 1);
}

#[test]
fn a_backend_goes_and_comes_back() {
    let mut backend = Backend::saying("here");
    let check = "health_check: { tcp: {}, interval: 50ms, timeout: 40ms, rise: 1, fall: 1 }";
    let balancer = plain(&format!("backends: [{backend}], {check}"));
    backend.stop();
    balancer.wait_until("it is found out", |balancer| balancer.pool("web").admitted == 0);
    assert_eq!(balancer.get("/").send().header("x-evenkeel-reason"), Some("no_backend"));
    backend.restart();
    balancer.wait_until("it is back", |balancer| balancer.pool("web").admitted == 1);
    assert_eq!(balancer.get("/").send().text(), "here");
}

#[test]
fn a_drop_closes_everything_whatever_is_in_flight() {
    let backend = Backend::answering(|_| Answer::hang());
    let balancer = plain(&format!("backends: [{backend}]"));
    let (address, request) = (balancer.address(), balancer.get("/"));
    let client = std::thread::spawn(move || request.try_send());
    balancer.wait_until("it is there", |_| backend.requests().len() == 1);
    let began = Instant::now();
    drop(balancer);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(client.join().unwrap().is_err());
    let gone = backend.address();
    drop(backend);
    assert_eq!(TcpStream::connect(gone).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn several_serve_at_once_and_know_nothing_of_each_other() {
    let backends: Vec<_> = (0..4).map(|n| Backend::saying(&n.to_string())).collect();
    let balancers: Vec<_> = backends.iter().map(|backend| plain(&format!("backends: [{backend}]"))).collect();
    for (n, balancer) in balancers.iter().enumerate() {
        assert_eq!(balancer.get("/").send().text(), n.to_string());
        let counted = |balancer: &Balancer| balancer.metric("evenkeel_requests_total") == 1.0;
        balancer.wait_until("it counts its own", counted);
    }
}

#[tokio::test]
async fn it_runs_beside_a_runtime() {
    let backend = Backend::saying("hello");
    let balancer = plain(&format!("backends: [{backend}]"));
    assert_eq!(balancer.get("/").send().text(), "hello");
}

#[test]
fn a_mistake_says_where_it_is_and_leaves_nothing() {
    let text =
        "\n        pools: { web: { backends: [127.0.0.1:1] } }\n        routes: [{ pool: web, filters: [none] }]";
    let refused = Balancer::try_start(text, |app| app).unwrap_err();
    let expected = "<yaml>:3:41: routes[0].filters[0].none: unknown filter 'none'";
    assert!(refused.to_string().starts_with(expected), "{refused}");
    let refused = Balancer::try_start("daemon: true\npools: { web: { backends: [127.0.0.1:1] } }", |app| app);
    assert!(refused.unwrap_err().to_string().contains("'daemon'"));
    let taken = Backend::saying("");
    let yaml = format!("listeners: [{{ address: {taken} }}]\npools: {{ web: {{ backends: [{taken}] }} }}");
    let refused = Balancer::try_start(&yaml, |app| app).unwrap_err();
    assert!(refused.to_string().starts_with(&format!("cannot listen on {taken}")), "{refused}");
}

#[test]
#[should_panic = "<yaml>:1:1: pool: unknown key"]
fn a_mistake_panics() {
    Balancer::start("pool: {}", |app| app);
}

#[test]
fn what_is_no_http_is_sent_as_it_is() {
    let backend = Backend::saying("hello");
    let balancer = plain(&format!("backends: [{backend}]"));
    assert_eq!(balancer.send_raw("GET  / HTTP/1.1\r\nHost: test\r\n\r\n").status(), 400);
    assert_eq!(balancer.send_raw("GET / HTTP/1.1\r\nHost: test\r\n\r\n").text(), "hello");
    assert_eq!(balancer.request("NO WAY", "/").send().status(), 400);
    assert_eq!(backend.requests().len(), 1);
}

/// The admin pages are there for who asks for them, on a port like the others.
#[test]
fn admin_pages_are_off_unless_asked_for() {
    let backend = Backend::saying("hello");
    assert_eq!(plain(&format!("backends: [{backend}]")).addresses().len(), 1);
    let yaml = format!("admin: {{ address: 127.0.0.1:0 }}\npools: {{ web: {{ backends: [{backend}] }} }}");
    let balancer = Balancer::start(&yaml, |app| app);
    let admin = *balancer.addresses().last().unwrap();
    assert_eq!(evenkeel::testing::Request::new(admin, "GET", "/healthz").send().text(), "alive\n");
}
