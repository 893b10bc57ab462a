//! `listeners`, `limits`, `trusted_proxies`, `access_log`, `admin`.

use super::super::{AccessLog, ForwardedHeaders, LogFormat, LogPath, Told};
use super::{at, parsed, refuses, with};

#[test]
fn neither_listeners_nor_pools_may_be_empty() {
    refuses(
        r"listeners: []
pools: {}
",
        &[r"1:1: listeners: must be a list of listeners, got an empty one", r"2:1: pools: must hold at least one pool"],
    );
}

#[test]
fn listeners_and_pools_need_a_value() {
    refuses(
        r"pools:
listeners:
",
        &[
            r"1:1: pools: must be a map of pools by their names, got nothing",
            r"2:1: listeners: must be a list of listeners, got nothing",
        ],
    );
}

#[test]
fn each_listener_is_checked() {
    refuses(
        r#"listeners:
  - { address: localhost:80 }
  - { address: 8080 }
  - { address: 10.0.0.1 }
  - { address: ::1 }
  - { address: ::1:80 }
  - { address: "*:80" }
  - { address: ":99999" }
  - { address: unix:rel }
  - { address: :81, h2c: true, tls: { certificates: [] } }
  - { address: :81, tls: { certificates: [{certificate: a, key: ""}, {certificate: c, key: d}] } }
  - { address: 127.0.0.1:81, h2c: yes }
  - { address: 127.0.0.1:9901 }
  - { tls: {} }
  - foo
  - { address: :82, tls: { certificates: [{certificate: a}], client_ca: x } }
pools: { web: { backends: [a:1] } }
"#,
        &[
            r"1:1: the admin pages' default address 127.0.0.1:9901 is taken by listeners[3] (line 13); set 'admin'",
            r"2:16: listeners[0].address: must be ip:port, :port or unix:/path, got 'localhost:80' (not an IP address; names are not looked up here)",
            r"3:16: listeners[1].address: must be ip:port, :port or unix:/path, got 8080 (write :8080)",
            r"4:16: listeners[2].address: must be ip:port, :port or unix:/path, got '10.0.0.1' (the port is missing)",
            r"5:16: listeners[3].address: must be ip:port, :port or unix:/path, got '::1' (an IPv6 address needs brackets and a port, like [::1]:80)",
            r"6:16: listeners[4].address: must be ip:port, :port or unix:/path, got '::1:80' (an IPv6 address needs brackets and a port, like [::1]:80)",
            r"7:16: listeners[5].address: must be ip:port, :port or unix:/path, got '*:80' (write :80 for every interface)",
            r"8:16: listeners[6].address: must be ip:port, :port or unix:/path, got ':99999' (a port is 0 to 65535)",
            r"9:16: listeners[7].address: must be an absolute path after 'unix:', like unix:/run/app.sock, got 'rel'",
            r"10:26: listeners[8].h2c: cannot stand beside 'tls': there, clients choose HTTP/2 during the handshake (ALPN); remove it",
            r"10:39: listeners[8].tls.certificates: must be a list of certificates, got an empty one",
            r"11:16: listeners[9].address: 0.0.0.0:81 is taken by listeners[0] (line 10)",
            r"11:65: listeners[9].tls.certificates[0].key: must be the path of a file, got a value that is not shown here",
            r"12:16: listeners[10].address: 127.0.0.1:81 is taken by listeners[0] (line 10)",
            r"12:35: listeners[10].h2c: must be true or false, got 'yes'",
            r"14:5: listeners[12]: needs 'address', like address: :8080",
            r"14:7: listeners[12].tls: needs 'certificates', like certificates: [{ certificate: site.pem, key: site.key }]",
            r"15:5: listeners[13]: must be a map of keys, got 'foo'",
            r"16:43: listeners[14].tls.certificates[0]: needs 'key', like key: site.key",
        ],
    );
}

#[test]
fn limits_are_checked() {
    refuses(
        &with(
            r#"limits: { idle_timeout: 5, max_body_size: 0, body_timeout: "", write_timeout: ~, header_timeuot: 1s }
"#,
        ),
        &[
            r"5:25: limits.idle_timeout: must be a duration with its unit, like 2s or 250ms, got 5 (write 5s or 5ms)",
            r"5:43: limits.max_body_size: must be more than 0, got 0",
            r"5:60: limits.body_timeout: must be a duration with its unit, like 2s or 250ms, got '' (units: ms, s, m, h, d)",
            r"5:64: limits.write_timeout: must be a duration with its unit, like 2s or 250ms, got nothing",
            r"5:82: limits.header_timeuot: unknown key, did you mean 'header_timeout'?",
        ],
    );
}

#[test]
fn limits_are_bounded() {
    refuses(
        &with(
            r#"limits: { max_header_size: 2MiB, max_headers: 257, max_uri_size: 2MiB, max_connections: 0, max_streams: off }
"#,
        ),
        &[
            r"5:28: limits.max_header_size: must be at most 1MiB, which is Pingora's limit",
            r"5:47: limits.max_headers: must be 1 to 256, got 257",
            r"5:66: limits.max_uri_size: must be at most 1MiB, which is Pingora's limit of a header",
            r"5:89: limits.max_connections: must be 1 to 4294967296, got 0",
            r"5:105: limits.max_streams: must be a whole number, 1 to 100000, got 'off'",
        ],
    );
}

#[test]
fn a_proxy_must_be_named_to_be_believed() {
    refuses(
        r#"listeners:
  - { address: ":8000", proxy_protocol: on }
  - { address: ":8001", proxy_protocol: {} }
  - { address: ":8002", proxy_protocol: { from: [] } }
  - { address: ":8003", proxy_protocol: { from: [10.0.0.0/33] } }
pools: { web: { backends: ["127.0.0.1:80"] } }
"#,
        &[
            r"2:41: listeners[0].proxy_protocol: must be a map of keys, got 'on'",
            r"3:25: listeners[1].proxy_protocol: needs 'from', like proxy_protocol: { from: [10.0.0.0/8] }",
            r"4:43: listeners[2].proxy_protocol.from: must name at least one address or range, like [10.0.0.0/8]",
            r"5:50: listeners[3].proxy_protocol.from[0]: must be an IP address or a range of them, like 10.0.0.0/8, got '10.0.0.0/33'",
        ],
    );
}

#[test]
fn a_size_must_be_one() {
    refuses(
        &with(
            r"limits: { max_body_size: lots }
",
        ),
        &[r"5:26: limits.max_body_size: must be a size with its unit, like 64KiB or 1GiB, got 'lots'"],
    );
}

#[test]
fn a_duration_beyond_all_bounds_is_refused() {
    refuses(
        &with(
            r"limits: { max_body_size: off, idle_timeout: 100000000000000000000d }
",
        ),
        &[
            r"5:45: limits.idle_timeout: must be a duration with its unit, like 2s or 250ms, got '100000000000000000000d' (units: ms, s, m, h, d)",
        ],
    );
}

#[test]
fn trusted_proxies_are_addresses_or_ranges() {
    refuses(
        &with(
            r#"trusted_proxies: [10.0.0.0/8, 10.0.0.1, "::1", foo, 10.0.0.0/33]
"#,
        ),
        &[
            r"5:48: trusted_proxies[3]: must be an IP address or a range of them, like 10.0.0.0/8, got 'foo'",
            r"5:53: trusted_proxies[4]: must be an IP address or a range of them, like 10.0.0.0/8, got '10.0.0.0/33'",
        ],
    );
}

#[test]
fn forwarded_headers_are_words() {
    refuses(
        &with(
            "forwarded_headers: { x_forwarded: add, x_real_ip: append, x_forwarded_port: set, forwardd: set }\nnormalize_path: 1\n",
        ),
        &[
            r"5:35: forwarded_headers.x_forwarded: must be append, set, keep or drop, got 'add'",
            r"5:51: forwarded_headers.x_real_ip: must be set, keep or drop, got 'append'",
            r"5:82: forwarded_headers.forwardd: unknown key, did you mean 'forwarded'?",
            r"6:17: normalize_path: must be true or false, got 1",
        ],
    );
    let config = parsed(&with("forwarded_headers: { forwarded: append, x_real_ip: set }\nnormalize_path: false\n"));
    let expected = ForwardedHeaders { forwarded: Told::Append, x_real_ip: Told::Set, ..Default::default() };
    assert_eq!((config.forwarded_headers, config.normalize_path), (expected, false));
}

#[test]
fn the_access_log_is_checked() {
    refuses(
        &with(
            r#"access_log: { path: "", format: jsn }
"#,
        ),
        &[
            r"5:21: access_log.path: must be the path of a file, got ''",
            r"5:33: access_log.format: must be combined or json, got 'jsn'",
        ],
    );
}

#[test]
fn the_admin_address_is_no_name() {
    refuses(
        &with(
            r"access_log: /var/log/x
admin: { address: localhost:1 }
",
        ),
        &[
            r"6:19: admin.address: must be ip:port or :port, got 'localhost:1' (not an IP address; names are not looked up here)",
        ],
    );
}

#[test]
fn the_admin_address_is_no_unix_socket() {
    refuses(
        &with(
            r"admin: { address: unix:/x }
",
        ),
        &[r"5:19: admin.address: must be ip:port or :port, got 'unix:/x' (a Unix socket will not do here)"],
    );
}

#[test]
fn the_forms_of_a_listener() {
    let config = parsed(
        "listeners:\n  - { address: :8080, h2c: true }\n  - { address: '[::]:8080' }\n  - { address: unix:/run/lb.sock }\n  \
         - { address: 127.0.0.1:0 }\n  - { address: 127.0.0.1:0 }\n  \
         - { address: :443, tls: { certificates: [{ certificate: tls/c.pem, key: /k.pem }] } }\n\
         pools: { web: { backends: [a:1] } }\nadmin: off\n",
    );
    let addresses: Vec<_> = config.listeners.iter().map(|l| l.address.to_string()).collect();
    let expected = ["0.0.0.0:8080", "[::]:8080", "unix:/run/lb.sock", "127.0.0.1:0", "127.0.0.1:0", "0.0.0.0:443"];
    assert_eq!(addresses, expected);
    assert_eq!((config.listeners[0].h2c, config.listeners[0].at.0), (true, at(2, 5)));
    let tls = config.listeners[5].tls.clone().unwrap();
    let [pair] = &tls.certificates[..] else { panic!("{tls:?}") };
    assert_eq!((&pair.certificate, &pair.key), (&"/etc/tls/c.pem".into(), &"/k.pem".into()));
    assert_eq!(pair.at.0, at(7, 59));
    assert_eq!(config.admin, None);
}

#[test]
fn a_taken_default_admin_address_is_named() {
    refuses(
        "listeners: [{ address: :9901 }]\npools: { web: { backends: [a:1] } }\n",
        &["1:1: the admin pages' default address 127.0.0.1:9901 is taken by listeners[0] (line 1); set 'admin'"],
    );
}

#[test]
fn the_forms_of_the_rest() {
    let config = parsed(&with(
        "trusted_proxies: [10.0.0.0/8, ::1]\nlimits: { max_body_size: 1GiB, idle_timeout: 1m 30s }\n\
         access_log: { path: logs/a.log, format: json }\nadmin: { address: :1 }\n",
    ));
    let nets: Vec<_> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(config.limits.max_body_size, Some(1 << 30));
    assert_eq!(config.limits.idle_timeout.as_secs(), 90);
    let path = LogPath::File("/etc/logs/a.log".into());
    assert_eq!(config.access_log, Some(AccessLog { path, format: LogFormat::Json }));
    assert_eq!(config.admin.unwrap().address.to_string(), "0.0.0.0:1");
    let path = |text: &str| parsed(&with(&format!("access_log: {text}\n"))).access_log.map(|log| log.path);
    assert_eq!(path("off"), None);
    assert_eq!(path("false"), None);
    assert_eq!(path("stdout"), Some(LogPath::Stdout));
    assert_eq!(path("{ format: json }"), Some(LogPath::Stdout));
    assert_eq!(path("stderr"), Some(LogPath::Stderr));
}
