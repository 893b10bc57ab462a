//! Pingora's own keys.

use super::{parsed, refuses, with};

#[test]
fn pingoras_keys_are_checked() {
    refuses(
        &with(
            r"admin: { address: :80 }
version: 2
threads: 0
max_retries: 3
runtime_enable_alt_timer: true
downstream_tls_offload_threadpools: 1
upgrade_sock_connect_accept_max_retries: 1
daemon: yes
user: [a]
client_bind_to_ipv4: [::1]
upstream_connect_offload_threadpools: 1
treads: 5
",
        ),
        &[
            r"5:1: admin: 0.0.0.0:80 is taken by listeners[0] (line 1)",
            r"6:10: version: must be 1, got 2",
            r"7:10: threads: must be 1 to 1024, got 0",
            r"8:14: max_retries: is set for each pool: write pools.NAME.retry.attempts",
            r"9:27: runtime_enable_alt_timer: works only in a build with '--cfg tokio_unstable', which this is not; remove it",
            r"10:37: downstream_tls_offload_threadpools: does nothing: handshakes with clients are made by the threads of 'threads'; remove it",
            r"11:42: upgrade_sock_connect_accept_max_retries: does nothing in Pingora 0.9; remove it",
            r"12:9: daemon: must be true or false, got 'yes'",
            r"13:1: user: must be a text, got a list",
            r"14:23: client_bind_to_ipv4[0]: must be an IPv4 address, got '::1'",
            r"15:39: upstream_connect_offload_threadpools: does nothing without 'upstream_connect_offload_thread_per_pool'",
            r"16:1: treads: unknown key, did you mean 'threads'?",
        ],
    );
}

#[test]
fn pingoras_values_have_types() {
    refuses(
        &with(
            r#"upstream_keepalive_pool_size: "128"
threads: many
user: ''
ca_file:
"#,
        ),
        &[
            r"5:31: upstream_keepalive_pool_size: must be a whole number, 0 to 1048576, got the text '128' (take the quotes off)",
            r"6:10: threads: must be a whole number, 1 to 1024, got 'many'",
            r"7:7: user: must be a text, got ''",
            r"8:1: ca_file: must be a text, got nothing",
        ],
    );
}

#[test]
fn pingoras_values_arrive() {
    let config = parsed(&with(
        "version: 1\nthreads: 3\ngrace_period_seconds: 0\nuser: nobody\nclient_bind_to_ipv6: ['::1']\n\
         fast_timeout_to_tokio_threshold_seconds: off\ndaemon_ready_timeout_seconds: 5\n",
    ));
    let server = &config.server;
    assert_eq!((server.version, server.threads, server.max_retries), (1, 3, 10));
    assert_eq!((server.grace_period_seconds, server.user.as_deref()), (Some(0), Some("nobody")));
    assert_eq!(server.client_bind_to_ipv6, ["::1"]);
    assert_eq!(server.fast_timeout_to_tokio_threshold_seconds, None);
    assert_eq!(server.daemon_ready_timeout_seconds.map(u64::from), Some(5));
}

#[test]
fn how_it_stops_and_is_replaced() {
    let config = parsed(&with("stop_delay: 5s\nupgrade_timeout: 2m\n"));
    let seconds = [config.stop_delay, config.upgrade_timeout].map(|time| time.as_secs());
    assert_eq!(seconds, [5, 120]);
    assert!(parsed(&with("stop_delay: off\n")).stop_delay.is_zero());
    refuses(
        &with("stop_delay: 5\nupgrade_timeout: off\n"),
        &[
            "5:13: stop_delay: must be a duration with its unit, like 2s or 250ms, got 5 (write 5s or 5ms)",
            "6:18: upgrade_timeout: must be a duration with its unit, like 2s or 250ms, got 'off' (units: ms, s, m, h, d)",
        ],
    );
}
