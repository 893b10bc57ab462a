//! The PROXY protocol towards backends.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::evenkeel::pool;
use crate::support::http2::{Call, Http2Origin};
use crate::support::nginx::{Nginx, free};
use crate::support::tls::{Authority, have_openssl};
use crate::support::{Evenkeel, Head, have, wait_until};

/// Writes down what each connection begins with, as hexadecimal digits, and answers every request on it.
fn recording() -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, headers) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&headers);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, seen) = (stream.unwrap(), Arc::clone(&seen));
            std::thread::spawn(move || {
                let mut wire = BufReader::new(stream);
                let Ok(header) = header(&mut wire) else { return };
                seen.lock().unwrap().push(header);
                while let Ok(Some(_)) = Head::read(&mut wire) {
                    wire.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                }
            });
        }
    });
    (address, headers)
}

fn header(wire: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut header = vec![0; 5];
    wire.read_exact(&mut header)?;
    if header == b"PROXY" {
        wire.read_until(b'\n', &mut header)?;
        return Ok(header);
    }
    header.resize(16, 0);
    wire.read_exact(&mut header[5..])?;
    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
    header.resize(16 + length, 0);
    wire.read_exact(&mut header[16..])?;
    Ok(header)
}

/// What a version 2 header says of a connection over IPv4.
fn v2(header: &[u8]) -> (SocketAddr, SocketAddr) {
    assert_eq!(header[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c");
    let address = |ip: usize, port: usize| {
        let ip: [u8; 4] = header[ip..ip + 4].try_into().unwrap();
        SocketAddr::from((ip, u16::from_be_bytes([header[port], header[port + 1]])))
    };
    (address(16, 24), address(20, 26))
}

#[test]
fn a_connection_is_one_clients() {
    let (address, headers) = recording();
    let evenkeel = Evenkeel::start(&pool(&[address], "proxy_protocol: v2"));
    let mut clients = [evenkeel.client(), evenkeel.client()];
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/").text(), "ok");
        }
    }
    let headers = headers.lock().unwrap().clone();
    let ends: HashSet<_> = headers.iter().map(|header| v2(header)).collect();
    assert!(ends.iter().all(|(from, to)| from.ip() == evenkeel.http().ip() && *to == evenkeel.http()), "{ends:?}");
    assert_eq!(ends.len(), 2, "each client has its own, however often: {ends:?}");
    assert!(headers.len() < 6, "and they are kept: {}", headers.len());
}

#[test]
fn version_1_is_a_line_and_who_asks_through_a_trusted_proxy_is_whom_it_says() {
    let (address, headers) = recording();
    let trusted = "trusted_proxies: [127.0.0.1]\n";
    let evenkeel = Evenkeel::start(&format!("{trusted}{}", pool(&[address], "proxy_protocol: v1")));
    let mut client = evenkeel.client();
    for from in ["192.0.2.7", "192.0.2.8", "192.0.2.7"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: {from}\r\n\r\n"));
        assert_eq!(client.read().text(), "ok");
    }
    let lines: Vec<_> = headers.lock().unwrap().iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let port = evenkeel.http().port();
    assert_eq!(lines, ["192.0.2.7", "192.0.2.8"].map(|from| format!("PROXY TCP4 {from} 127.0.0.1 0 {port}\r\n")));
}

#[test]
fn it_counts_for_max_connections() {
    let (address, headers) = recording();
    let evenkeel = Evenkeel::start(&pool(&[address], "proxy_protocol: v2\nmax_connections: 1\nretry: off"));
    let (mut one, mut two) = (evenkeel.client(), evenkeel.client());
    assert_eq!(one.get("/").status, 200);
    let refused = two.get("/");
    assert_eq!((refused.status, refused.reason()), (503, "connection_limit"));
    assert_eq!(headers.lock().unwrap().len(), 1);
}

#[test]
fn nginx_takes_it_ahead_of_tls() {
    if !have("nginx") || !have_openssl() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(&dir, "authority");
    let (certificate, key) = authority.sign(&dir, "site", "DNS:localhost");
    let (plain, tls) = (free(), free());
    let says = "return 200 \"$proxy_protocol_addr:$proxy_protocol_port $server_protocol\";";
    let servers = format!(
        "server {{ listen {plain} proxy_protocol; location / {{ {says} }} }}\n\
         server {{ listen {tls} ssl http2 proxy_protocol; ssl_certificate {certificate}; ssl_certificate_key {key}; location / {{ {says} }} }}\n"
    );
    let _nginx = Nginx::start(dir.path(), &servers, tls);
    let secure = format!("protocol: h2\ntls: {{ server_name: localhost, ca: {} }}\n", authority.certificate);
    for (address, more, protocol) in [(plain, "", "HTTP/1.1"), (tls, secure.as_str(), "HTTP/2.0")] {
        for version in ["v1", "v2"] {
            let check = "health_check: { http: {}, timeout: 4s }";
            let evenkeel = Evenkeel::start(&pool(&[address], &format!("{more}proxy_protocol: {version}\n{check}")));
            // The probe is ours, and says so.
            assert_eq!(evenkeel.backends()[0]["state"], "healthy", "{}", evenkeel.backends()[0]);
            let text = evenkeel.get("/").text();
            let (from, said) = text.split_once(' ').unwrap();
            assert!(from.starts_with("127.0.0.1:") && from != "127.0.0.1:0", "{text}");
            assert_eq!(said, protocol);
        }
    }
}

#[test]
fn haproxy_takes_it() {
    if !have_haproxy() {
        return;
    }
    let origin = Http2Origin::new(|mut call: Call| async move {
        let from = call.head.headers.get("x-source").map_or("", |value| value.to_str().unwrap()).to_owned();
        call.say(&from, &[]);
    });
    let (dir, address) = (tempfile::tempdir().unwrap(), free());
    let file = dir.path().join("haproxy.cfg");
    let config = format!(
        "defaults\n mode http\n timeout connect 5s\n timeout client 9s\n timeout server 9s\n\
         frontend f\n bind {address} accept-proxy\n http-request set-header X-Source %[src]:%[src_port]\n default_backend b\n\
         backend b\n server s {} proto h2\n",
        origin.address
    );
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("haproxy");
    let mut haproxy =
        command.arg("-db").arg("-f").arg(&file).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_until("haproxy listens", || std::net::TcpStream::connect(address).is_ok());
    let evenkeel = Evenkeel::start(&pool(&[address], "proxy_protocol: v2"));
    let text = evenkeel.get("/").text();
    let _ = haproxy.kill();
    let _ = haproxy.wait();
    assert!(text.starts_with("127.0.0.1:"), "{text}");
}

/// HAProxy is no part of what the tests need elsewhere.
fn have_haproxy() -> bool {
    let found = Command::new("haproxy").arg("-v").stdout(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: haproxy is missing");
    }
    found
}

#[test]
fn over_a_unix_socket_the_client_is_unknown() {
    let (address, headers) = recording();
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("lb.sock");
    let evenkeel = Evenkeel::start(&format!(
        "listeners: [{{ address: 'unix:{}' }}]\n{}",
        socket.display(),
        pool(&[address], "proxy_protocol: v2")
    ));
    let mut client = crate::support::Client::connect_unix(&socket);
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(headers.lock().unwrap()[0], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    drop(evenkeel);
}
