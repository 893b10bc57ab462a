//! The access log, beside nginx's own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::support::evenkeel::pool;
use crate::support::{Client, Evenkeel, Origin, Then, have, wait_until};

/// A real nginx in front of a backend, with its own combined log.
struct Nginx {
    child: Child,
    dir: tempfile::TempDir,
    address: SocketAddr,
}

impl Nginx {
    fn start(backend: SocketAddr) -> Nginx {
        let dir = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let folder = dir.path().to_str().unwrap();
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {folder}/{name};\n"))
            .concat();
        let conf = format!(
            "daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;\n\
             events {{ }}\nhttp {{\n{temp}access_log {folder}/access.log combined;\n\
             server {{ listen {address}; location / {{ proxy_pass http://{backend}; proxy_http_version 1.1; }} }}\n}}\n"
        );
        fs::write(dir.path().join("nginx.conf"), conf).unwrap();
        let mut command = Command::new("nginx");
        let command = command.args(["-p", folder, "-c", &format!("{folder}/nginx.conf")]);
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        wait_until("nginx listens", || TcpStream::connect(address).is_ok());
        Nginx { child, dir, address }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A combined line without its time, which must look like one.
fn without_time(line: &str) -> String {
    let (before, rest) = line.split_once('[').unwrap();
    let (time, after) = rest.split_once(']').unwrap();
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let month = &form[3..6];
    assert!(month.chars().all(|c| c.is_ascii_alphabetic()), "{time}");
    let sign = &form[21..22];
    assert!(sign == "+" || sign == "-", "{time}");
    assert_eq!(form.replace(month, "Mon").replace(sign, "+"), "00/Mon/0000:00:00:00 +0000");
    format!("{before}[]{after}")
}

/// Not compared: the size of a chunked answer. nginx counts the framing of its chunks too, which depends on how it cut them.
#[test]
fn combined_is_nginxs_to_the_byte() {
    if !have("nginx") {
        return;
    }
    let origin = Origin::new(|exchange| match exchange.path() {
        "/204" => {
            exchange.send("HTTP/1.1 204 No Content\r\n\r\n")?;
            Ok(Then::Keep)
        }
        "/missing" => exchange.answer("404 Not Found", "nothing here"),
        _ => {
            exchange.body()?;
            exchange.ok("hello")
        }
    });
    let nginx = Nginx::start(origin.address);
    let log = "access_log: { path: DIR/access.log, format: combined }\n";
    let evenkeel = Evenkeel::start(&(log.to_owned() + &pool(&[origin.address], "")));
    let cases: [&[u8]; 11] = [
        b"GET / HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /a?b=c&d=%20 HTTP/1.1\r\nHost: test\r\nUser-Agent: curl/8.0\r\nReferer: http://a.example/\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\nUser-Agent: quote \" back\\slash tab\t end\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\nUser-Agent: caf\xc3\xa9 \xff\r\nReferer: \xe2\x82\xac\r\n\r\n",
        b"POST /p HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
        b"HEAD /h HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /204 HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /missing HTTP/1.1\r\nHost: test\r\n\r\n",
        b"GET /10 HTTP/1.0\r\nHost: test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\nAuthorization: Basic amFuZTpzZWNyZXQ=\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: test\r\nUser-Agent:\r\nReferer: \r\n\r\n",
    ];
    for case in cases {
        for address in [nginx.address, evenkeel.http()] {
            let method = if case.starts_with(b"HEAD") { "HEAD" } else { "GET" };
            Client::connect(address).send(case).read_to(method);
        }
    }
    let ours = || fs::read_to_string(evenkeel.access_log()).unwrap_or_default();
    wait_until("all lines are written", || {
        [nginx.log(), ours()].iter().all(|log| log.lines().count() == cases.len() && log.ends_with('\n'))
    });
    let (theirs, ours) = (nginx.log(), ours());
    let wrong: Vec<String> = theirs
        .lines()
        .zip(ours.lines())
        .map(|(theirs, ours)| (without_time(theirs), without_time(ours)))
        .filter(|(theirs, ours)| theirs != ours)
        .map(|(theirs, ours)| format!("nginx:    {theirs}\nevenkeel: {ours}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn json_has_every_field() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    client.send(
        "POST /a?b=%22 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: a \"b\"\r\nReferer: http://r/\r\n\
         Content-Length: 3\r\n\r\nabc",
    );
    let response = client.read();
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    let line = evenkeel.requests(1).remove(0);
    let backend = origin.address.to_string();
    let id = origin.last().head.header("x-request-id").unwrap().to_owned();
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("request_id", &id),
        ("method", "POST"),
        ("host", "shop.example"),
        ("path", "/a?b=%22"),
        ("protocol", "HTTP/1.1"),
        ("referer", "http://r/"),
        ("user_agent", "a \"b\""),
        ("pool", "web"),
        ("backend", &backend),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    for (key, value) in [("status", 200), ("bytes_sent", 5), ("bytes_received", 3)] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert_eq!((&line["reused"], line["reason"].is_null()), (&false.into(), true), "{line}");
    let attempts = line["attempts"].as_array().unwrap();
    assert_eq!((attempts.len(), &attempts[0]["backend"]), (1, &backend.into()), "{line}");
    let number = |key: &str| line[key].as_f64().unwrap();
    let (connect, first, total) = (number("connect_ms"), number("first_byte_ms"), number("total_ms"));
    assert!(0.0 < connect && connect <= first && first <= total && total < 10_000.0, "{line}");
    // RFC 3339 with milliseconds and an offset.
    assert_eq!(line["time"].as_str().unwrap().len(), "2026-01-01T00:00:00.000+00:00".len());
}

#[test]
fn the_log_names_the_backend_that_failed() {
    let mut origin = Origin::saying("closed");
    origin.stop();
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    assert_eq!(evenkeel.get("/").status, 502);
    let line = evenkeel.requests(1).remove(0);
    assert_eq!(line["attempts"][0]["backend"], origin.address.to_string(), "{line}");
    let warned = evenkeel.logged("connect_failed", 1);
    assert!(
        warned[0].contains("WARN") && warned[0].contains("pool web") && warned[0].contains(&origin.address.to_string())
    );
}

#[test]
fn lines_are_written_before_the_process_ends() {
    let origin = Origin::saying("hello");
    let mut evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let mut client = evenkeel.client();
    for _ in 0..200 {
        client.get("/");
    }
    evenkeel.signal("TERM");
    assert_eq!(evenkeel.ended().code(), Some(0));
    let text = fs::read_to_string(evenkeel.access_log()).unwrap();
    assert_eq!(text.lines().count(), 200);
}

#[test]
fn a_log_that_is_moved_away_under_load_loses_no_line() {
    let origin = Origin::saying("hello");
    let evenkeel = Evenkeel::start(&pool(&[origin.address], ""));
    let (rounds, each) = (10, 100);
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let address = evenkeel.http();
            std::thread::spawn(move || {
                let mut wire = Client::connect(address);
                for request in 0..rounds * each {
                    assert_eq!(wire.get(&format!("/{client}/{request}")).status, 200);
                }
            })
        })
        .collect();
    let log = evenkeel.access_log();
    for round in 0..rounds {
        let seen = origin.count();
        wait_until("some more requests", || {
            origin.count() >= seen + each / 2 || clients.iter().all(|client| client.is_finished())
        });
        fs::rename(&log, log.with_extension(round.to_string())).unwrap();
        evenkeel.signal("USR1");
        wait_until("it is there again", || log.exists());
    }
    clients.into_iter().for_each(|client| client.join().unwrap());
    let files = || (0..rounds).map(|round| log.with_extension(round.to_string())).chain([log.clone()]);
    let lines =
        || files().flat_map(|file| fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>());
    wait_until("every line is written", || lines().count() >= 4 * rounds * each);
    let paths: std::collections::HashSet<String> = lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap()["path"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!((lines().count(), paths.len()), (4 * rounds * each, 4 * rounds * each));
    assert!(files().filter(|file| fs::metadata(file).unwrap().len() > 0).count() > 3, "the load was over too soon");
}
